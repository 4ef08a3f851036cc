"""``rosetta convert``: weights of one system as a file of another, proved in the library that will load it."""

import importlib
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import records
from common.cli import console
from common.cli.options import Verbs, add_seed, add_verb, named
from common.conversions.systems import LAYOUTS
from common.equivalence.comparison import FAILED
from common.equivalence.tally import tally
from common.errors import BackendMissing, InvalidInput, mismatch
from common.study import certificate, conversion
from common.study.certificate import Certificate, Comparison, Verdict
from common.study.environment import environment
from common.weights import files
from common.weights.source import Found, WeightsFile
from common.weights.targets import TARGETS
from common.weights.writing import Written, keep, written

WIDTH, SHOWN_FAILURES = 80, 8
# The libraries of the certificate's page.
LIBRARIES = ("jinja2", "markupsafe", "matplotlib")


class Asked(NamedTuple):
    """What the user asked for: the layer of the file, and where it goes."""

    options: Namespace
    file: WeightsFile
    layer: Found
    out: Path


def add(verbs: Verbs) -> None:
    more = (
        "The new file is loaded and run by the library that owns its format, compared with the source, and only then "
    )
    more += "kept. Exit code 1: it does not compute the same, and nothing was kept."
    parser = add_verb(verbs, "convert", run, "convert a file of weights to another framework, and prove it", more)
    parser.add_argument("file", metavar="FILE", help="weights in any format that `rosetta inspect` reads")
    parser.add_argument("--layer", metavar="PATH", help="the layer in the file (default: the only one)")
    text = f"one of {', '.join(TARGETS)}"
    parser.add_argument("--to", type=named(list(TARGETS)), metavar="FORMAT", required=True, help=text)
    parser.add_argument("--out", metavar="FILE", required=True, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    text = "keep the file even if no library here can run it, or no comparison could have shown an error"
    parser.add_argument("--unproven", action="store_true", help=text)
    add_certificate(parser)
    add_seed(parser, "seed of the inputs, states and cotangents")


def add_certificate(parser: Any) -> None:
    text = "write what was compared, as a page, and beside it as .json and .md"
    parser.add_argument("--certificate", metavar="FILE.html", help=text)


def load_certificates(path: Path | None) -> Any:
    """``reports.certificate``, or None where no certificate is asked for. Raises unless one can be written there."""
    if path is None:
        return None
    try:
        module = importlib.import_module("reports.certificate")
    except ModuleNotFoundError as error:
        if error.name not in LIBRARIES:
            raise
        text = f"a certificate needs {error.name}, which is not installed; run: pip install -e '.[report]'"
        raise BackendMissing(text) from error
    module.require_place(path)
    return module


def run(options: Namespace) -> int:
    """Convert, prove, keep, and print what was compared; returns the exit code."""
    source, out = Path(options.file), Path(options.out)
    page = Path(options.certificate) if options.certificate else None
    pages = load_certificates(page)
    file = files.read(source)
    asked = Asked(options, file, chosen(file, options.layer), out)
    spec = asked.layer.spec
    assert spec is not None
    with written(out, options.to, spec, asked.layer.params, force=options.force) as made:
        found, is_kept = _proved(asked, made)
        if is_kept:
            keep(made, out)
    if pages is not None:
        pages.write(page, found)
    if options.json:
        print(records.dumps(found))
    else:
        _print(asked, found)
        if page is not None:
            console.line(f"Certificate: {page}")
    return 0 if is_kept else 1


def chosen(file: WeightsFile, path: str | None) -> Found:
    """The layer of this path, or the only one. Raises ``InvalidInput`` where there is no such layer, or several."""
    layers = [layer for layer in file.layers or () if path is None or layer.path == path]
    names = ", ".join(layer.path or "the file itself" for layer in file.layers or ()) or "no recurrent layer"
    if len(layers) != 1:
        wanted = "one layer" if path is None else f"one layer {path}"
        raise InvalidInput(
            mismatch(f"layers in {file.path}", wanted, names, "choose one with --layer" * (path is None))
        )
    if layers[0].problem:
        where = f"layer {layers[0].path or 'of the file'} in {file.path}"
        raise InvalidInput(mismatch(where, "one that can be used", layers[0].problem))
    return layers[0]


def _proved(asked: Asked, made: Written) -> tuple[Certificate, bool]:
    """The certificate, and whether the file is to be kept."""
    options, layer, spec = asked.options, asked.layer, asked.layer.spec
    assert spec is not None
    proof, versions, notes = conversion.Proof([], [], []), {}, []
    try:
        if not made.target.peer:
            raise BackendMissing(f"no library can be asked to run a file of {made.target.name}")
        target = conversion.target_end(made.path, made.target.peer, made.layer)
    except (BackendMissing, InvalidInput) as error:
        if not options.unproven:
            raise type(error)(f"{error}; --unproven keeps the file without a proof") from error
        verdict, is_kept = Verdict(False, f"Not proved: {error}. The file was read back to the bit."), True
    else:
        source, note = conversion.source_end(asked.file.path, layer)
        notes = [note] if note else []
        with console.Stages(quiet=options.json) as stages:
            done = stages.stage("comparing", conversion.parts(target.peer))
            proof = conversion.prove(spec, layer.params, source, target, options.seed, done)
        verdict, is_kept = _verdict(asked, target, proof, options.unproven)
        versions = {end.peer.name: end.peer.versions() for end in (source, target) if end is not None}
    machine = {record["of"]: record["facts"] for record in environment([conversion.NUMPY])}
    found = certificate.certificate(
        command=options.command,
        verdict=verdict,
        files=[
            certificate.file_facts("source", asked.file.path, asked.file.format),
            {**certificate.file_facts("target", made.path, made.target.summary), "path": str(asked.out)},
        ],
        layer=certificate.layer_facts(layer.path, LAYOUTS[layer.layout].owner, spec, layer.params),
        inputs=[certificate.input_facts(f"drawn, seed {options.seed + k}", p) for k, p in enumerate(proof.problems)],
        rows=proof.rows,
        versions=machine | versions,
        notes=[*asked.file.notes, *layer.notes, *made.notes, *notes, *proof.notes],
    )
    return found, is_kept


def _verdict(asked: Asked, target: conversion.End, proof: conversion.Proof, unproven: bool) -> tuple[Verdict, bool]:
    """The verdict, and whether it lets the file be kept."""
    rows = [row for _, row in proof.rows]
    counts, said = tally(row.record() for row in rows), certificate.summary(rows)
    what = "outputs, final states and gradients" if target.peer.has_gradients else "outputs and final states"
    if counts.equivalent:
        done = f"{target.peer.name} loads {asked.out.name} and computes what {asked.file.path.name} holds"
        return Verdict(True, f"Equivalent: {done} ({what}); {said}."), True
    if counts.failed or not rows:
        return Verdict(False, f"NOT equivalent, and nothing was kept: {said}."), False
    kept = "and kept as asked" if unproven else "and nothing was kept"
    return Verdict(False, f"Undecided, {kept}: {said}."), unproven


def _print(asked: Asked, found: Certificate) -> None:
    """What went in and out, the notes, what was compared, and the verdict."""
    layer, (source, target) = found["layer"], found["files"]
    console.line(f"in   {source['path']}: {source['format']}")
    console.line(
        f"     {layer['path'] or 'the file itself'}: {layer['label']}, {layer['spec']['dtype']}, as {layer['owner']}"
    )
    console.line(f"out  {target['path']}: {target['format']}")
    for note in found["notes"]:
        console.line(textwrap.fill(f"note {note}", WIDTH, subsequent_indent="     "))
    if found["comparisons"]:
        columns = ("what", "number", "error", "bound", "resolution", "verdict")
        console.table("Compared", columns, _lines(found["comparisons"]), numeric=columns[1:5])
    bad = [row for row in found["comparisons"] if row["verdict"] == FAILED]
    for row in sorted(bad, key=certificate.rank, reverse=True)[:SHOWN_FAILURES]:
        why = row["reason"] or f"an error of {_number(row['error'])}, expected at most {_number(row['tolerance'])}"
        text = f"FAILED {row['quantity']} ({row['check']}), {row['a']} – {row['b']}: {why}"
        console.line(textwrap.fill(text, WIDTH, subsequent_indent="       "))
    if len(bad) > SHOWN_FAILURES:
        console.line(f"... and {len(bad) - SHOWN_FAILURES} more; --json or a certificate lists all")
    console.line(textwrap.fill(found["sentence"], WIDTH))


def _lines(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """A line for outputs, final states and gradients, on whole sequences and on ragged ones, with the worst of each."""
    groups: dict[str, list[Comparison]] = {}
    for row in comparisons:
        what = "gradients" if row["check"] == "gradient" else "outputs" if row["quantity"] == "y" else "final states"
        groups.setdefault(what + (", ragged" if row["inputs"] else ""), []).append(row)
    lines = []
    for what, members in groups.items():
        (group,) = certificate.groups({**row, "a": "", "b": "", "check": "", "inputs": 0} for row in members)
        numbers = (group.worst["error"], group.worst["tolerance"], group.resolution)
        failed = sum(row["verdict"] == FAILED for row in members)
        verdict = f"{failed} FAILED" if failed else group.outcome
        lines.append((what, str(len(members)), *map(_number, numbers), verdict))
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"
