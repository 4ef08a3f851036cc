"""The certificate of what was compared on weights from a file: everything that it says, as plain data.

``certificate`` makes one from rows of the harness, and ``reports.certificate`` writes it as a page, as JSON and as
Markdown. Numbers that are not finite are None. ``read`` takes the JSON back.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np

from common.backend.contract import Problem
from common.equivalence.comparison import Row
from common.equivalence.tally import badness, tally, used
from common.errors import InvalidInput, mismatch
from common.model.spec import ModelSpec
from common.proof.subject import digest, fingerprint
from common.record_parts import Number, Spec
from common.records import dumps, package_version, require_type

SCHEMA = 2
# A larger one is not a certificate of ours.
LARGEST = 64 << 20
HISTOGRAM = "The errors by size; the length of a bar is logarithmic"


class File(TypedDict):
    """A file that took part: as what, where, in which format, and its content's size and SHA-256."""

    role: str
    path: str
    format: str
    bytes: int
    sha256: str


class Layer(TypedDict):
    """The layer of the file: its path there ("" for the file itself), its class in words, and its model."""

    path: str
    owner: str
    label: str
    spec: Spec
    parameters: int


class Inputs(TypedDict):
    """What the layer was run on: its name in tables, where it is from, its sizes, and the SHA-256 of all its arrays."""

    label: str
    origin: str
    steps: int
    batch: int
    lengths: list[int] | None
    sha256: str


class Comparison(TypedDict):
    """One comparison of ``a`` and ``b``; the fields are those of a check record, and ``inputs`` counts from 0."""

    check: str
    quantity: str
    a: str
    b: str
    inputs: int
    count: int
    error: Number
    scale: Number
    tolerance: Number
    ratio: Number
    resolution: Number
    verdict: str
    reason: str


class Failure(TypedDict):
    """A failed comparison as a check prints it: why, its worst elements as a table, and where its errors stand.

    ``histogram`` is in lines; it, ``cause`` and the command that repeats the comparison are empty where an earlier
    failure of the same kind has them.
    """

    title: str
    reasons: list[str]
    columns: list[str]
    elements: list[list[str]]
    places: list[str]
    histogram: list[str]
    cause: str
    again: str


class Certificate(TypedDict):
    """What was done to which files, and what followed.

    ``sentence`` is the verdict, ``passed`` whether it is one in favour. ``versions`` has the facts about the machine
    and about each implementation and library that took part; ``notes`` say what was merged, assumed or left out.
    """

    kind: Literal["certificate"]
    schema: int
    version: str
    date: str
    command: list[str]
    passed: bool
    sentence: str
    files: list[File]
    layer: Layer
    inputs: list[Inputs]
    notes: list[str]
    failures: list[Failure]
    comparisons: list[Comparison]
    versions: dict[str, dict[str, Any]]


class Verdict(NamedTuple):
    """Whether everything was compared and agreed, and one sentence that says so."""

    passed: bool
    sentence: str


def certificate(
    *,
    command: Sequence[str],
    verdict: Verdict,
    files: Sequence[File],
    layer: Layer,
    inputs: Sequence[Inputs],
    rows: Iterable[tuple[int, Row]],
    versions: Mapping[str, Mapping[str, Any]],
    notes: Sequence[str] = (),
    failures: Sequence[Failure] = (),
) -> Certificate:
    """``rows`` come with the number of the inputs that they are about; the command is given word by word."""
    return Certificate(
        kind="certificate",
        schema=SCHEMA,
        version=package_version(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        command=list(command),
        passed=verdict.passed,
        sentence=verdict.sentence,
        files=list(files),
        layer=layer,
        inputs=list(inputs),
        notes=list(notes),
        failures=list(failures),
        comparisons=[_comparison(number, row) for number, row in rows],
        versions={name: dict(facts) for name, facts in versions.items()},
    )


def file_facts(role: str, path: Path, form: str) -> File:
    """A file's size and SHA-256, or those of the files in a folder, such as a checkpoint of orbax."""
    parts = path.rglob("*") if path.is_dir() else [path]
    size = sum(part.stat().st_size for part in parts if part.is_file())
    return File(role=role, path=str(path), format=form, bytes=size, sha256=digest(path))


def layer_facts(path: str, owner: str, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> Layer:
    count = sum(value.size for value in params.values())
    return Layer(path=path, owner=owner, label=spec.label, spec=Spec(**asdict(spec)), parameters=count)


def input_facts(label: str, origin: str, problem: Problem) -> Inputs:
    """``origin`` says in words where the inputs are from, such as "drawn, seed 0"."""
    lengths = None if problem.lengths is None else [int(length) for length in problem.lengths]
    steps, batch = problem.x.shape[:2]
    return Inputs(label=label, origin=origin, steps=steps, batch=batch, lengths=lengths, sha256=fingerprint(problem))


def _comparison(number: int, row: Row) -> Comparison:
    """A row without what it shares with all others."""
    measured = vars(row.measured)
    values = {name: measured[name] for name in ("error", "scale", "tolerance", "ratio")}
    return Comparison(
        check=row.check,
        quantity=row.quantity,
        a=row.a,
        b=row.b,
        inputs=number,
        count=row.measured.count,
        **{name: value if np.isfinite(value) else None for name, value in values.items()},
        resolution=row.resolution if np.isfinite(row.resolution) else None,
        verdict=row.verdict,
        reason=row.decision.reason,
    )


def summary(rows: Sequence[Row]) -> str:
    """How many comparisons there were, what failed, and how close the worst came to its tolerance, as a clause."""
    records = [row.record() for row in rows]
    if not records:
        return "nothing was compared"
    counts, worst = tally(records), max(records, key=badness)
    where = f"{worst['quantity']} ({worst['check']}), {worst['a']} against {worst['b']}"
    if counts.failed:
        why = worst["reason"] or f"an error of {used(worst):.2g} times its tolerance"
        return f"{counts.failed} of {counts.compared} comparisons failed; the worst is {where}: {why}"
    text = f"{counts.compared} comparisons, none out of tolerance; the worst used {100 * used(worst):.2g}% of it"
    if counts.undecided:
        text += f", {counts.undecided} undecided"
    if not counts.unseen:
        return text
    backend, check, *_, quantity = counts.unseen[0]
    more = f" and {len(counts.unseen) - 1} more" if len(counts.unseen) > 1 else ""
    return f"{text}; no comparison could have shown an error in {quantity} ({check}) of {backend}{more}"


def as_json(found: Certificate) -> str:
    """One object, a field a line, that ``read`` takes."""
    return json.dumps(json.loads(dumps(found)), indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Certificate:
    """The certificate in a JSON file. Raises ``InvalidInput`` for anything else."""
    wanted = "a certificate that `rosetta check FILE` or `rosetta convert` wrote as JSON"
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise InvalidInput(mismatch("certificate", wanted, f"{path} (no file, or one above {LARGEST} bytes)"))
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(mismatch("certificate", wanted, f"{path} ({error})")) from error
    if not isinstance(found, dict) or (found.get("kind"), found.get("schema")) != ("certificate", SCHEMA):
        raise InvalidInput(mismatch("certificate", f"{wanted}, schema {SCHEMA}", path))
    require_type(str(path), found, Certificate)
    return found  # pyright: ignore
