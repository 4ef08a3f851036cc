"""The page on which a reader steps forward and backward through a small network; its data are embedded in it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from common.errors import InvalidInput, mismatch
from common.model.spec import ModelSpec
from common.printable import printable
from common.tracing.examples import example
from common.tracing.trace import Example
from reports.page.render import TEMPLATES, style, write_all
from reports.teaching import sources, walk
from reports.teaching.html import code, mathematics, templates

# The pages among the lessons: file name, title and cell.
PAGES = (
    ("stepper-rnn.html", "Step through an RNN, forward and backward", "RNNCell"),
    ("stepper-lstm.html", "Step through an LSTM, forward and backward", "LSTMCell"),
    ("stepper-gru.html", "Step through a GRU, forward and backward", "GRUCell"),
)
# In the loop around any cell the sum over uses is hard to read; the network with its own loop states it plainly.
SIMPLER = {("RNN", "U1"): "E7"}


def lesson_page(cell: str) -> str:
    """The page that goes with the lessons: a small network with random weights."""
    spec = ModelSpec(cell=cell, input_size=2, hidden_size=3)
    return page(example(spec, steps=5, seed=0), (0, 1, 2), (0, 1), lessons=True)


def write(
    shown: Example,
    units: Sequence[int],
    inputs: Sequence[int],
    file: Path,
    weights: str = "",
    recorded: str = "",
    done: Callable[[], object] = lambda: None,
) -> Path:
    """Writes the page of an example, with these hidden units and inputs (counted from 0), and returns its path.

    ``weights`` and ``recorded`` name the files of the weights and of the inputs, "" for random ones. ``done`` is called
    after each of ``walk.WORLDS``.
    """
    if not file.name or file.is_dir():
        raise InvalidInput(mismatch("--out", "the name of a file to write", str(file) or "none"))
    (written,) = write_all(file.parent, {file.name: page(shown, units, inputs, weights, recorded, done=done)})
    return written


def page(
    shown: Example,
    units: Sequence[int],
    inputs: Sequence[int],
    weights: str = "",
    recorded: str = "",
    lessons: bool = False,
    done: Callable[[], object] = lambda: None,
) -> str:
    """The page; ``weights`` and ``recorded`` as in ``write``. With ``lessons`` it has a link back to the lessons."""
    data = walk.walk(shown, units, inputs, done)
    data["tags"] = {tag: _rendered(entry, SIMPLER.get((data["cell"], tag))) for tag, entry in data["tags"].items()}
    script = Markup((TEMPLATES / "stepper.js").read_text(encoding="utf-8"))
    columns = f"#values {{ --units: {len(data['quantities']['h']['rows'])}; }}\n"
    template = templates().get_template("stepper.html.j2")
    embedded = Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
    return template.render(
        data=data,
        embedded=embedded,
        style=style("lesson.css", "stepper.css") + Markup(columns),
        script=script,
        weights=printable(weights),
        recorded=printable(recorded),
        lessons=lessons,
    )


def _rendered(tag: dict[str, Any], simpler: str | None) -> dict[str, Any]:
    """The mathematics and code of an equation as HTML, with formula and line of the ``simpler`` one, if any."""
    codes, latex = list(tag["code"]), tag["latex"]
    if simpler:
        other = sources.equation(simpler)
        latex = other.latex
        codes.insert(1, other.code[0]._replace(framework="NumPy, without a cell"))
    rendered = [entry._asdict() | {"lines": list(map(code, entry.lines))} for entry in codes]
    return {"says": tag["says"], "formula": mathematics(latex, display=True), "code": rendered}
