"""The guides as Markdown, and their index."""

from pathlib import Path

from common.weights.targets import TARGETS
from reports.guides import conventions
from reports.guides.systems import PAIRS, SYSTEMS, System
from reports.page.render import write_all

FOLDER = Path(__file__).parents[1] / "published" / "guides"
CELLS = ("LSTM", "GRU", "RNN")


def write(folder: Path = FOLDER) -> list[Path]:
    """Write all pages and their index into a folder; returns the paths."""
    return write_all(folder, pages())


def pages() -> dict[str, str]:
    """File name -> text."""
    made = {name(*pair): page(*(SYSTEMS[title] for title in pair)) for pair in PAIRS}
    return {"README.md": index(), **made}


def name(source: str, target: str) -> str:
    return f"{source}-to-{target}.md".lower().replace(" ", "-")


def index() -> str:
    """The list of pages."""
    lines = [f"- [From {source} to {target}]({name(source, target)})" for source, target in PAIRS]
    words = ", ".join(f"`{target.name}` ({target.summary})" for target in TARGETS.values())
    return "\n".join(
        (
            "# From one library to another",
            "",
            *lines,
            "",
            f"Any format that `rosetta inspect` reads can be converted to any of these: {words}.",
            "",
            "Made by `python -m reports.guides` from the tables that the converters read.",
            "",
        )
    )


def commands(source: System, target: System) -> tuple[str, ...]:
    """What to type."""
    proof = f"{Path(target.file).stem}.html"
    return (
        f"rosetta inspect {source.file}",
        f"rosetta check {source.file}",
        f"rosetta convert {source.file} --to {target.target} --out {target.file} --certificate {proof}",
        f"rosetta check {target.file}",
        f"rosetta tolerance {target.file}",
    )


def python(source: System, target: System) -> str:
    """The same from Python."""
    return "\n".join(
        (
            "from common import weights",
            "",
            f'(layer,) = weights.read("{source.file}").layers',
            f'for note in weights.write("{target.file}", "{target.target}", layer):',
            "    print(note)",
        )
    )


def loading(target: System) -> str:
    return "\n".join(target.load).format(file=target.file)


def page(source: System, target: System) -> str:
    """The page of one pair."""
    lines = [
        f"# From {source.title} to {target.title}",
        "",
        f"`{source.file}` holds an LSTM with 8 inputs and 16 units. Any layer will do, and any model around it: "
        "`--layer PATH` chooses one of several.",
        "",
        "```sh",
        *commands(source, target),
        "```",
        "",
        f"The third line writes `{target.file}`, loads it with {_library(target)}, runs both files on the same inputs, "
        "compares outputs, final states and, where the library has them, gradients, and keeps the file only if they "
        "agree to within rounding. The certificate says so in a form that can go into a pull request. From Python, "
        "without the comparison (what was written is read back to the bit):",
        "",
        "```python",
        python(source, target),
        "```",
        "",
        f"In {target.title}:",
        "",
        "```python",
        loading(target),
        "```",
        "",
        *_install(source, target),
        "## Conventions",
        "",
        "H is the number of units, I that of inputs, P the size of a projection (H without one). Gates: i, f, o are "
        "those of an LSTM and g its candidate (c in Keras and ONNX, j in TensorFlow 1); r and z are those of a GRU "
        "and n its candidate (h in Keras and ONNX).",
        "",
    ]
    for cell in CELLS:
        lines += conventions.of_cell(cell, source, target)
    lines += ["Made by `python -m reports.guides` from the tables that the converters read.", ""]
    return "\n".join(lines)


def _library(target: System) -> str:
    return {"safetensors": "safetensors and PyTorch", "ONNX": "onnxruntime"}.get(target.title, target.title)


def _install(source: System, target: System) -> list[str]:
    extras = [extra for extra in dict.fromkeys((source.extra, target.extra)) if extra]
    return [f"Both libraries: `pip install -e '.[{','.join(extras)}]'`.", ""]
