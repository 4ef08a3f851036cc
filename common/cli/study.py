"""``rosetta study``, which measures everything and writes the report, and ``rosetta report``, which renders records."""

import importlib
import importlib.util
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import records
from common.backend import registry
from common.cli import console, tables
from common.cli.options import (
    Verbs,
    add_backends,
    add_jobs,
    add_selection,
    add_verb,
    at_least,
    backends,
    cells,
    dtypes,
)
from common.errors import BackendMissing, InvalidInput, RecordsCut, mismatch
from common.model.spec import CELLS, DTYPES
from common.record_types import Bench, Record
from common.study import study as studies
from common.study import tasks
from common.study.study import ROUNDS


def add(verbs: Verbs) -> None:
    text = "run the checks, the sine wave and the timings, and write the report"
    parser = add_verb(verbs, "study", study, text)
    add_backends(parser, registry.DEFAULT)
    add_selection(parser, CELLS, DTYPES)
    add_jobs(parser)
    text = "also train every task in every backend with several seeds (about an hour)"
    parser.add_argument("--full", action="store_true", help=text)
    text = f"rounds of the timings (default: {ROUNDS})"
    parser.add_argument("--rounds", type=at_least(1), default=ROUNDS, metavar="N", help=text)
    text = "output folder (default: reports/latest)"
    parser.add_argument("--out", default="reports/latest", metavar="FOLDER", help=text)

    more = "Exit code 1 also means that the report was built from incomplete records."
    parser = add_verb(verbs, "report", report, "render a records file as HTML and Markdown", more)
    text = "a file of JSON lines (default: reports/latest/records.jsonl)"
    parser.add_argument("records", nargs="?", default="reports/latest/records.jsonl", help=text)
    parser.add_argument("--out", metavar="FOLDER", help="output folder (default: the folder of the records)")
    text = "accept a file that was cut off; the report says so"
    parser.add_argument("--partial", action="store_true", help=text)


def study(options: Namespace) -> int:
    """Measure, write the records as they come, then the report."""
    names, chosen_cells, chosen_dtypes = backends(options), cells(options), dtypes(options)
    if options.full:
        _note_untrained(names, chosen_cells, chosen_dtypes)
    reports = load_reports()
    folder = Path(options.out)
    unfinished, final = folder / "records.jsonl.part", folder / "records.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = unfinished.open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidInput(mismatch("output folder", "a writable folder", f"{folder} ({error})")) from error
    rows: list[Record] = []
    try:
        with stream, console.Stages() as stages, records.writing(stream, options.command, options.seed) as writer:
            wanted = (names, chosen_cells, chosen_dtypes, options.seed, options.jobs, options.rounds)
            for record in studies.study(*wanted, stages.stage, options.full):
                writer.write(record)
                rows.append(record)
    except BaseException:
        console.message(f"What was measured so far is kept; to see it: rosetta report --partial {unfinished}")
        raise
    unfinished.replace(final)
    complete = records.read(final)
    page = reports.write(complete, folder)
    verdict = reports.verdict(complete)
    if options.json:
        sys.stdout.write(final.read_text(encoding="utf-8"))
    else:
        tables.print_checks(rows)
        if timings := [record for record in records.of_kind(rows, Bench) if record["backward"]]:
            tables.print_bench(timings)
        console.line(verdict.sentence)
        console.line(f"Report: {page}")
    return 0 if verdict.passed else 1


def _note_untrained(names: Sequence[str], chosen_cells: Sequence[str], chosen_dtypes: Sequence[str]) -> None:
    """Print which choices the full study does not train its tasks with; raises if none are left to train with."""
    tasks.pieces(names, chosen_cells, 0)
    others = [name for name in names if name not in tasks.BACKENDS]
    others += [cell for cell in chosen_cells if cell not in tasks.CELLS]
    others += [dtype for dtype in chosen_dtypes if dtype != "float64"]
    if others:
        console.message(f"--full does not train the tasks with {', '.join(others)}; the checks cover them too")


def load_reports() -> Any:
    """The package that renders. Raises ``BackendMissing`` if the libraries of the extra ``report`` are missing."""
    for library in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise BackendMissing(f"the report needs {library}, which is not installed; run: pip install -e '.[report]'")
    return importlib.import_module("reports")


def report(options: Namespace) -> int:
    """Render a records file."""
    reports = load_reports()
    path = Path(options.records)
    partial = False
    try:
        rows = records.read(path)
    except RecordsCut as error:
        if not options.partial:
            raise
        rows, partial = error.intact, True
    page = reports.write(rows, Path(options.out) if options.out else path.parent, partial=partial)
    verdict = reports.verdict(rows, partial)
    if options.json:
        print(records.dumps({"report": str(page), "passed": verdict.passed, "verdict": verdict.sentence}))
    else:
        console.line(verdict.sentence)
        console.line(f"Report: {page}")
    return 0 if verdict.passed else 1
