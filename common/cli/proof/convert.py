"""``rosetta convert``: weights of one system as a file of another, proved in the library that will load it."""

import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from common import records
from common.cli import console
from common.cli.options import MODEL_ROWS, Verbs, add_rows, add_seed, add_verb, named
from common.cli.proof import certificates, text
from common.cli.proof.subjects import OPEN, add_file, asked_of, notes, subject_of
from common.conversions.systems import LAYOUTS
from common.equivalence.comparison import FAILED
from common.equivalence.tally import tally
from common.errors import BackendMissing, InvalidInput, mismatch
from common.model.cells import CELLS
from common.model.dtypes import is_exact, rounding
from common.model.spec import DTYPES
from common.proof import conversion
from common.proof.recorded import Inputs
from common.proof.subject import Subject
from common.study import certificate
from common.study.certificate import Certificate, Comparison, Verdict
from common.study.environment import environment
from common.study.groups import groups, parties
from common.weights.layer import path_text
from common.weights.targets import TARGETS
from common.weights.writing import Written, keep, written

WIDTH = 80


def add(verbs: Verbs) -> None:
    more = (
        "The new file is loaded and run by the library that owns its format, compared with the source, and only then "
    )
    more += "kept. Exit code 1: it does not compute the same, and nothing was kept."
    parser = add_verb(verbs, "convert", run, "convert a file of weights to another framework, and prove it", more)
    add_file(parser, needed=True)
    names = f"one of {', '.join(TARGETS)}"
    parser.add_argument("--to", type=named(list(TARGETS)), metavar="FORMAT", required=True, help=names)
    parser.add_argument("--out", metavar="FILE", required=True, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    kept = "keep the file even if no library here can run it, or no comparison could have shown an error"
    parser.add_argument("--unproven", action="store_true", help=kept)
    dtypes = f"{' or '.join(DTYPES)}: the dtype of the new file, in which that of FILE is exact (default: that of FILE)"
    parser.add_argument("--dtype", type=named(DTYPES), metavar="NAME", help=dtypes)
    certificates.add(parser)
    add_seed(parser, "seed of the inputs and cotangents")
    cells = f"one of {', '.join(CELLS)}, where the file leaves it open"
    parser.add_argument("--cell", action="append", type=named(CELLS), metavar="NAME", help=cells)
    add_rows(parser, "model", [MODEL_ROWS[name] for name in OPEN], "where the file does not record it")


def run(options: Namespace) -> int:
    """Convert, prove, keep, and print what was compared; returns the exit code."""
    out, page = Path(options.out), certificates.place(options)
    subject = _widened(subject_of(options), options.dtype)
    inputs = asked_of(options, subject).inputs
    params = subject.params(subject.spec.dtype)
    with written(out, options.to, subject.spec, params, force=options.force) as made:
        found, more, is_kept = _proved(options, subject, inputs, made)
        if is_kept:
            keep(made, out)
    if page is not None:
        page[1].write(page[0], found)
    if options.json:
        print(records.dumps(found))
    else:
        _print(found, more)
        if page is not None:
            console.line(f"Certificate: {page[0]}")
    return 0 if is_kept else 1


def _widened(subject: Subject, dtype: str | None) -> Subject:
    """The same weights in a dtype that holds every one of them. Raises ``InvalidInput`` for one that rounds them."""
    given = subject.spec.dtype
    if dtype is None or dtype == given:
        return subject
    if not is_exact(given, dtype):
        raise InvalidInput(mismatch("--dtype", f"one in which {given} is exact", dtype, rounding(given, dtype)))
    note = f"the weights were cast from {given} to {dtype}, in which they are exact"
    layer = subject.layer._replace(notes=(*subject.layer.notes, note))
    return subject._replace(layer=layer, spec=subject.spec.with_dtype(dtype))


def _proved(
    options: Namespace, subject: Subject, inputs: Inputs | None, made: Written
) -> tuple[Certificate, int, bool]:
    """The certificate, how many failures are like those in it, and whether the file is to be kept."""
    proof, versions, said = conversion.Proof([], []), {}, []
    try:
        if not made.target.peer:
            raise BackendMissing(f"no library can be asked to run a file of {made.target.name}")
        target = conversion.target_end(made.path, made.target.peer, made.layer)
    except (BackendMissing, InvalidInput) as error:
        if not options.unproven:
            raise type(error)(f"{error}; --unproven keeps the file without a proof") from error
        verdict, is_kept = Verdict(False, f"Not proved: {error}. The file was read back to the bit."), True
    else:
        source, note = conversion.source_end(subject)
        said = [note] if note else []
        with console.Stages(quiet=options.json) as stages:
            done = stages.stage("comparing", conversion.parts(target.peer))
            proof = conversion.prove(subject, inputs, source, target, options.seed, done)
        verdict, is_kept = _verdict(options, target, proof)
        versions = {end.peer.name: end.peer.versions() for end in (source, target) if end is not None}
    layer, source_path = subject.layer, subject.file.path
    assert layer.spec is not None
    read = subject.spec.with_dtype(layer.spec.dtype)
    machine = {record["of"]: record["facts"] for record in environment([conversion.NUMPY])}
    files = [
        certificate.file_facts("source", source_path, subject.file.format),
        {**certificate.file_facts("target", made.path, made.target.summary), "path": options.out},
    ]
    if inputs is not None:
        files.append(certificate.file_facts("inputs", Path(inputs.path), "NumPy"))
    failures, more = text.failures(proof.trials)
    found = certificate.certificate(
        command=options.command,
        verdict=verdict,
        files=files,
        layer=certificate.layer_facts(layer.path, LAYOUTS[layer.layout].owner, read, layer.params),
        inputs=[
            certificate.input_facts(
                "whole sequences" if trial.problem.lengths is None else "ragged",
                "; ".join(trial.origin),
                trial.problem,
            )
            for trial in proof.trials
        ],
        rows=[(number, row) for number, trial in enumerate(proof.trials) for row in trial.rows],
        versions=machine | versions,
        notes=[*notes(subject), *made.notes, *said, *proof.notes],
        failures=failures,
    )
    return found, more, is_kept


def _verdict(options: Namespace, target: conversion.End, proof: conversion.Proof) -> tuple[Verdict, bool]:
    """The verdict, and whether it lets the file be kept."""
    rows = proof.rows
    counts, said = tally(row.record() for row in rows), certificate.summary(rows)
    what = "outputs, final states and gradients" if target.peer.has_gradients else "outputs and final states"
    if counts.equivalent:
        done = f"{target.peer.name} loads {Path(options.out).name} and computes what {Path(options.file).name} holds"
        return Verdict(True, f"Equivalent: {done} ({what}); {said}."), True
    if counts.failed or not rows:
        return Verdict(False, f"NOT equivalent, and nothing was kept: {said}."), False
    kept = "and kept as asked" if options.unproven else "and nothing was kept"
    return Verdict(False, f"Undecided, {kept}: {said}."), options.unproven


def _print(found: Certificate, more: int) -> None:
    """What went in and out, the notes, what was compared, and the verdict."""
    layer, (source, target, *_) = found["layer"], found["files"]
    console.line(f"in   {source['path']}: {source['format']}")
    console.line(f"     {path_text(layer['path'])}: {layer['label']}, {layer['spec']['dtype']}, as {layer['owner']}")
    console.line(f"out  {target['path']}: {target['format']}")
    for note in found["notes"]:
        console.line(textwrap.fill(f"note {note}", WIDTH, subsequent_indent="     "))
    if found["comparisons"]:
        columns = ("what", "number", "error", "bound", "resolution", "verdict")
        console.table("Compared", columns, _lines(found["comparisons"]), numeric=columns[1:5])
    text.print_failures(found["failures"], more)
    console.line(textwrap.fill(found["sentence"], WIDTH))


def _lines(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """A line for outputs, final states and gradients, on whole sequences and on ragged ones, with the worst of each."""
    able = parties(row for row in comparisons if row["check"] == "gradient")
    computed = "gradients" if parties(comparisons) == able else f"gradients {_side(able)}"
    by_kind: dict[str, list[Comparison]] = {}
    for row in comparisons:
        what = computed if row["check"] == "gradient" else "outputs" if row["quantity"] == "y" else "final states"
        by_kind.setdefault(what + (", ragged" if row["inputs"] else ""), []).append(row)
    lines = []
    for what, members in by_kind.items():
        (group,) = groups({**row, "a": "", "b": "", "check": "", "inputs": 0} for row in members)
        numbers = (group.worst["error"], group.worst["tolerance"], group.resolution)
        failed = sum(row["verdict"] == FAILED for row in members)
        verdict = f"{failed} FAILED" if failed else group.outcome
        lines.append((what, str(len(members)), *map(_number, numbers), verdict))
    return lines


def _side(able: Sequence[str]) -> str:
    """At which end gradients were computed, as it stands in the names of the ends; NumPy computes them always."""
    ends = [name.rpartition(" ")[2] for name in able if name != conversion.NUMPY]
    return " ".join(ends) or f"({conversion.NUMPY})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"
