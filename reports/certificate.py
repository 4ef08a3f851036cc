"""A certificate as a page that needs no network, as JSON, and as Markdown that fits into a comment.

``write`` makes all three; ``python -m reports.certificate FILE.json [OUT.html]`` makes them again from the JSON, which
holds everything that the page says.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.equivalence.ladder import CHECKS
from common.equivalence.tolerances import A_PASS_MEANS
from common.errors import InvalidInput, mismatch
from common.model.describe import shape_text
from common.printable import printable
from common.records import plain
from common.study.certificate import Certificate, Comparison, as_json, groups, parties, rank, read, shown
from reports.page.model import Table
from reports.page.numbers import count, error, fraction
from reports.page.render import MARKDOWN_LIMIT, environment, markdown_environment, style, write_all

SUFFIXES, TWINS = (".html", ".htm"), (".json", ".md")
# Within so many bytes, each of the three files says that it is a certificate.
SEEN = 4096
HOW_TO_READ = (
    "Each end runs the same inputs from the same nonzero states, and is compared with the others and with the exact "
    "result. The error is the largest |a - b| over all elements. The tolerance is how far rounding can move this very "
    "result, measured on these weights and inputs; a comparison passes if error / tolerance is at most 1. The "
    "resolution is the smallest relative error that would have failed.",
    A_PASS_MEANS,
)


class Content(NamedTuple):
    """What both documents are made of; ``every`` is the table of all comparisons, which the page folds away."""

    title: str
    passed: bool
    sentence: str
    origin: str
    command: str
    notes: tuple[str, ...]
    explained: tuple[str, ...]
    summary: tuple[Table, ...]
    facts: tuple[Table, ...]
    every: Table


def write(path: Path, certificate: Certificate) -> list[Path]:
    """Write ``path``, which ends in .html, and its twins .json and .md, all or none; returns the paths.

    Raises ``InvalidInput`` for another suffix, or where they cannot be written.
    """
    require_place(path)
    found = content(certificate)
    json_name, md_name = (path.with_suffix(suffix).name for suffix in TWINS)
    text = as_json(certificate).encode("utf-8", "backslashreplace").decode()
    texts = {json_name: text, md_name: markdown(found, json_name), path.name: page(found, json_name)}
    return write_all(path.parent, texts)


def require_place(path: Path) -> None:
    """Raise ``InvalidInput`` unless a certificate may be written there, or one was."""
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput(mismatch("--certificate", "a name that ends in .html", path.name or str(path)))
    for file in (path, *(path.with_suffix(suffix) for suffix in TWINS)):
        try:
            with file.open("rb") as stream:
                is_ours = b"ertificate" in stream.read(SEEN)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InvalidInput(mismatch("--certificate", "a writable file", f"{file} ({error.strerror})")) from error
        if not is_ours:
            raise InvalidInput(
                mismatch("--certificate", "a new name, or that of a certificate", f"{file}, another file")
            )


def page(found: Content, json_name: str) -> str:
    template = environment(autoescape=True).get_template("certificate.html.j2")
    return template.render(found=found, json_name=json_name, style=style())


def markdown(found: Content, json_name: str) -> str:
    """The certificate as Markdown; if too long for a comment, with the first comparisons only, the worst first."""
    template = markdown_environment().get_template("certificate.md.j2")
    text = ""
    for limit in (None, 200, 100, 50, 20, 5):
        text = template.render(found=found, json_name=json_name, limit=limit)
        if len(text.encode()) < MARKDOWN_LIMIT:
            break
    return text


def content(certificate: Certificate) -> Content:
    """What a certificate says, as text; characters that control a terminal or cannot be written are escaped."""
    found = _printable(certificate)
    summary = [_summary(found["comparisons"])] if found["comparisons"] else []
    title = "Certificate of a conversion" if any(file["role"] == "target" for file in found["files"]) else "Certificate"
    names = " → ".join(Path(file["path"]).name for file in found["files"] if file["role"] in ("source", "target"))
    return Content(
        title=f"{title}: {names}",
        passed=found["passed"],
        sentence=found["sentence"],
        origin=f"RNN Rosetta {found['version']}, {found['date']}",
        command=shlex.join(found["command"]),
        notes=tuple(found["notes"]),
        explained=HOW_TO_READ,
        summary=tuple(summary),
        facts=(_files(found), _layer(found), _inputs(found), *_versions(found)),
        every=_every(found["comparisons"]),
    )


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, "")
    if isinstance(value, dict):
        return {printable(key, ""): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _summary(rows: Sequence[Comparison]) -> Table:
    """One line for each check, pair and inputs, with its worst comparison."""
    several = len({row["inputs"] for row in rows}) > 1
    lines = []
    for group in groups(rows):
        worst = group.worst
        lines.append(
            (
                f"{group.check}, inputs {group.inputs + 1}" if several else group.check,
                f"{group.a} – {group.b}",
                group.outcome,
                count(len(group.members)),
                fraction(worst["ratio"]),
                error(worst["error"]),
                error(worst["tolerance"]),
                "–" if group.resolution is None else error(group.resolution),
                worst["quantity"],
            )
        )
    columns = ("Check", "Pair", "Verdict", "Arrays", "Error / tolerance", "Error", "Tolerance", "Resolution", "Worst")
    checks = dict.fromkeys(row["check"] for row in rows)
    explained = "; ".join(f"{name}: {CHECKS[name]}" for name in checks if name in CHECKS)
    return Table("What was compared", columns, tuple(lines), f"{explained}.", numbers=range(3, 8), whole=True)


def _every(rows: Sequence[Comparison]) -> Table:
    lines = tuple(
        (
            row["check"],
            row["quantity"],
            f"{row['a']} – {row['b']}",
            shown(row["verdict"]) + (f": {row['reason']}" if row["reason"] else ""),
            str(row["inputs"] + 1),
            count(row["count"]),
            fraction(row["ratio"]),
            error(row["error"]),
            error(row["tolerance"]),
            error(row["resolution"]),
            error(row["scale"]),
        )
        for row in sorted(rows, key=rank, reverse=True)
    )
    columns = ("Check", "Quantity", "Pair", "Verdict", "Inputs", "Elements", "Error / tolerance", "Error", "Tolerance")
    columns += ("Resolution", "Largest value")
    return Table("Every comparison, the worst first", columns, lines, numbers=range(4, 11))


def _files(found: Certificate) -> Table:
    lines = tuple(
        (file["role"], file["path"], file["format"], count(file["bytes"]), file["sha256"]) for file in found["files"]
    )
    return Table("Files", ("Role", "Path", "Format", "Bytes", "SHA-256"), lines, numbers=(3,), code=(4,), whole=True)


def _layer(found: Certificate) -> Table:
    layer, spec = found["layer"], found["layer"]["spec"]
    sizes = f"{spec['input_size']} inputs, {spec['hidden_size']} units"
    facts = {
        "path in the file": layer["path"] or "the file itself",
        "as": layer["owner"],
        "model": layer["label"],
        "sizes": sizes + (f", projected to {spec['proj_size']}" if spec["proj_size"] else ""),
        "layers": str(spec["num_layers"]),
        "directions": "both" if spec["bidirectional"] else "one",
        "biases": "with" if spec["bias"] else "without",
        "dtype": spec["dtype"],
        "parameters": count(layer["parameters"]),
    }
    return Table("The layer", ("Fact", "Value"), tuple(facts.items()), whole=True)


def _inputs(found: Certificate) -> Table:
    spec = found["layer"]["spec"]
    lines = tuple(
        (
            str(number),
            given["origin"],
            shape_text((given["steps"], given["batch"], spec["input_size"])),
            "every sequence whole" if given["lengths"] is None else ", ".join(map(str, given["lengths"])),
            given["sha256"],
        )
        for number, given in enumerate(found["inputs"], start=1)
    )
    columns = ("Inputs", "From", "Shape (T, B, I)", "Lengths", "SHA-256 of x, states, cotangents")
    return Table("Inputs", columns, lines, numbers=(0,), code=(4,), whole=True)


def _versions(found: Certificate) -> tuple[Table, ...]:
    lines = [
        (name, key, text)
        for name, facts in found["versions"].items()
        for key, text in ((key, plain(value)) for key, value in facts.items())
    ]
    if not lines:
        return ()
    involved = ", ".join(parties(found["comparisons"]))
    note = f"Compared: {involved}." if involved else ""
    return (Table("Versions and machine", ("Of", "Fact", "Value"), tuple(lines), note),)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".html")
    print(*write(target, read(source)), sep="\n")
