"""A certificate as a page that needs no network, as JSON, and as Markdown that fits into a comment.

``write`` makes all three; ``python -m reports.certificate FILE.json [OUT.html]`` makes them again from the JSON, which
holds everything that the page says.
"""

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.equivalence.comparison import EXPECTED, FAILED, ORACLES
from common.equivalence.ladder import CHECKS
from common.equivalence.tolerances import A_PASS_MEANS
from common.errors import InvalidInput, mismatch
from common.model.describe import shape_text
from common.printable import printable
from common.records import plain
from common.study.certificate import HISTOGRAM, Certificate, Comparison, Failure, as_json, read
from common.study.groups import groups, outcome, parties, rank, shown
from reports.page.model import Table
from reports.page.numbers import count, error, fraction
from reports.page.render import MARKDOWN_LIMIT, environment, markdown_environment, style, write_all

SUFFIXES, TWINS = (".html", ".htm"), (".json", ".md")
# What the columns of the short table are called, as in a terminal.
CALLED = {"forward": "outputs and states", "gradient": "gradients"}
# Within so many bytes, each of the three files says that it is a certificate.
SEEN = 4096
HOW_TO_READ = (
    "On each of the inputs listed below, all run the same x from the same initial states, with the same cotangents for "
    "gradients, and are compared with one another and with the exact result. The error is the largest |a - b| over all "
    "elements. The tolerance is how far rounding can move this very result, measured on these weights and inputs; a "
    "comparison passes if error / tolerance is at most 1. The resolution is the smallest relative error that would "
    "have failed.",
    A_PASS_MEANS,
)
RECORDED = '"expected" is what was recorded elsewhere; it was not run here.'


class Shown(NamedTuple):
    """A failed comparison: its worst elements, what is said of them, and the histogram of its errors."""

    title: str
    reasons: tuple[str, ...]
    worst: Table
    places: tuple[str, ...]
    histogram: str
    again: str


class Content(NamedTuple):
    """What both documents are made of. ``pairs``, unless something failed, and ``every`` are folded away."""

    title: str
    passed: bool
    sentence: str
    origin: str
    command: str
    notes: tuple[str, ...]
    failures: tuple[Shown, ...]
    explained: tuple[str, ...]
    short: tuple[Table, ...]
    facts: tuple[Table, ...]
    pairs: Table
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
    return template.render(found=found, json_name=json_name, style=style(), histogram=HISTOGRAM)


def markdown(found: Content, json_name: str) -> str:
    """The certificate as Markdown; if too long for a comment, with the first comparisons only, the worst first."""
    template = markdown_environment().get_template("certificate.md.j2")
    text = ""
    for limit in (None, 200, 100, 50, 20, 5):
        text = template.render(found=found, json_name=json_name, limit=limit, histogram=HISTOGRAM)
        if len(text.encode()) < MARKDOWN_LIMIT:
            break
    return text


def content(certificate: Certificate) -> Content:
    """What a certificate says, as text; characters that control a terminal or cannot be written are escaped."""
    found = _printable(certificate)
    rows, labels = found["comparisons"], [given["label"] for given in found["inputs"]]
    recorded = (RECORDED,) if EXPECTED in parties(rows) else ()
    return Content(
        title=_title(found),
        passed=found["passed"],
        sentence=found["sentence"],
        origin=f"RNN Rosetta {found['version']}, {found['date']}",
        command=shlex.join(found["command"]),
        notes=tuple(found["notes"]),
        failures=tuple(map(_failure, found["failures"])),
        explained=(*HOW_TO_READ[:1], *recorded, *HOW_TO_READ[1:]),
        short=(_short(rows, labels),) if rows else (),
        facts=(_files(found), _layer(found), _inputs(found), *_versions(found)),
        pairs=_pairs(rows, labels),
        every=_every(rows, labels),
    )


def _title(found: Certificate) -> str:
    """What was done to which file; one that did not pass is not called a certificate of it."""
    names = {file["role"]: Path(file["path"]).name for file in found["files"]}
    if "target" in names:
        what = f"a conversion: {names.get('source', '')} → {names['target']}"
    else:
        layer = found["layer"]["path"]
        what = f"a check: {f'{layer} of ' if layer else ''}{names.get('weights', '')}"
    return f"Certificate of {what}" if found["passed"] else f"No certificate of {what}"


def _failure(failure: Failure) -> Shown:
    rows = tuple(map(tuple, failure["elements"]))
    return Shown(
        title=failure["title"],
        reasons=tuple(failure["reasons"]),
        worst=Table("The worst elements", tuple(failure["columns"]), rows, numbers=(1, 2), whole=True),
        places=(*failure["places"], *([failure["cause"]] if failure["cause"] else [])),
        histogram="\n".join(failure["histogram"]),
        again=failure["again"],
    )


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, "")
    if isinstance(value, dict):
        return {printable(key, ""): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _short(rows: Sequence[Comparison], labels: Sequence[str]) -> Table:
    """A line for each participant on each inputs: how near its results came to their tolerances."""
    checks = list(dict.fromkeys(row["check"] for row in rows))
    lines = []
    for inputs in dict.fromkeys(row["inputs"] for row in rows):
        here = [row for row in rows if row["inputs"] == inputs]
        for name in parties(here):
            own = [row for row in here if name in (row["a"], row["b"])]
            against = [row for row in own if row["a"] == name and row["b"] in ORACLES]
            ratios = [[row["ratio"] for row in against if row["check"] == check] for check in checks]
            worst = [fraction(max(map(_size, some))) if some else "–" for some in ratios]
            lines.append((name, outcome(against or own), _label(labels, inputs), *worst))
    columns = ("Who", "Verdict", "Inputs", *(CALLED.get(check, check) for check in checks))
    note = "Numbers are the worst error over tolerance, against the exact result; – is what was not compared."
    return Table("Against the exact result", columns, tuple(lines), note, numbers=range(3, len(columns)), whole=True)


def _size(ratio: float | None) -> float:
    return math.inf if ratio is None else ratio


def _label(labels: Sequence[str], number: int) -> str:
    return labels[number] if number < len(labels) else str(number + 1)


def _pairs(rows: Sequence[Comparison], labels: Sequence[str]) -> Table:
    """One line for each check, pair and inputs, with its worst comparison; those that failed come first."""
    lines = []
    for group in sorted(groups(rows), key=lambda group: group.worst["verdict"] != FAILED):
        worst = group.worst
        lines.append(
            (
                group.check,
                group.outcome,
                f"{group.a} – {group.b}",
                _label(labels, group.inputs),
                count(len(group.members)),
                fraction(worst["ratio"]),
                error(worst["error"]),
                error(worst["tolerance"]),
                "–" if group.resolution is None else error(group.resolution),
                worst["quantity"],
            )
        )
    columns = ("Check", "Verdict", "Pair", "Inputs", "Arrays", "Error / tolerance", "Error", "Tolerance")
    checks = dict.fromkeys(row["check"] for row in rows)
    explained = "; ".join(f"{name}: {CHECKS[name]}" for name in checks if name in CHECKS)
    columns += ("Resolution", "Worst")
    return Table("Every pair", columns, tuple(lines), f"{explained}.", numbers=range(4, 9), whole=True)


def _every(rows: Sequence[Comparison], labels: Sequence[str]) -> Table:
    lines = tuple(
        (
            row["check"],
            shown(row["verdict"]) + (f": {row['reason']}" if row["reason"] else ""),
            row["quantity"],
            f"{row['a']} – {row['b']}",
            _label(labels, row["inputs"]),
            count(row["count"]),
            fraction(row["ratio"]),
            error(row["error"]),
            error(row["tolerance"]),
            error(row["resolution"]),
            error(row["scale"]),
        )
        for row in sorted(rows, key=rank, reverse=True)
    )
    columns = ("Check", "Verdict", "Quantity", "Pair", "Inputs", "Elements", "Error / tolerance", "Error", "Tolerance")
    columns += ("Resolution", "Largest value")
    return Table("Every comparison, the worst first", columns, lines, numbers=range(5, 11))


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
            given["label"],
            given["origin"],
            shape_text((given["steps"], given["batch"], spec["input_size"])),
            "every sequence whole" if given["lengths"] is None else ", ".join(map(str, given["lengths"])),
            given["sha256"],
        )
        for given in found["inputs"]
    )
    columns = ("Inputs", "From", "Shape (T, B, I)", "Lengths", "SHA-256 of x, states, cotangents")
    return Table("Inputs", columns, lines, code=(4,), whole=True)


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
