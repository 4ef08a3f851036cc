"""The commands behind ``rosetta``: each takes the parsed options and returns the exit code."""

import importlib
import importlib.util
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from common import records
from common.backend import registry
from common.backend.guards import unsupported
from common.cli import arguments, console, tables
from common.cli import train as training
from common.cli.info import describe, doctor, ls
from common.cli.teach import lessons, stepper, trace
from common.equivalence import ladder, processes, variants
from common.errors import BackendBroken, BackendMissing, InvalidInput, RecordsCut, mismatch
from common.model.validate import require_seed
from common.record_types import Bench, Record
from common.study import bench as benchmark
from common.study import study as studies
from common.study import tasks
from common.study.environment import environment
from common.training import settings

__all__ = ["bench", "check", "describe", "doctor", "generate", "lessons", "ls", "predict", "report"]
__all__ += ["stepper", "study", "trace", "train"]


def _names(options: Namespace) -> list[str]:
    """The chosen backends, each once, after making sure that they load."""
    names = list(dict.fromkeys(options.backend or options.default_backends))
    problems: list[BackendMissing | BackendBroken] = []
    for name in names:
        try:
            registry.load(name)
        except (BackendMissing, BackendBroken) as error:
            problems.append(error)
    if problems:
        raise type(problems[0])("\n".join(str(problem) for problem in problems))
    return names


def _cells(options: Namespace) -> tuple[str, ...]:
    return tuple(dict.fromkeys(options.cell or options.default_cells))


def _dtypes(options: Namespace) -> tuple[str, ...]:
    return tuple(dict.fromkeys(options.dtype or options.default_dtypes))


def _collect(options: Namespace, stream: Iterable[Record]) -> list[Record]:
    """All records of the stream; with --json, each is printed as it comes."""
    if not options.json:
        return list(stream)
    found = []
    with records.writing(sys.stdout, options.command, options.seed) as writer:
        for record in stream:
            writer.write(record)
            found.append(record)
    return found


def check(options: Namespace) -> int:
    names, cells, dtypes = _names(options), _cells(options), _dtypes(options)
    one = arguments.given(options, (*arguments.MODEL, *arguments.ONE))
    if options.configs is None:
        run, chosen = processes.check, variants.variants(cells, dtypes, options.seed)
        if one:
            cells = cells if options.cell else _fitting(cells, one)
            chosen = [arguments.variant(cell, dtype, options.seed, one) for dtype in dtypes for cell in cells]
        names = names if options.backend else _able(names, chosen)
    else:
        if one:
            raise InvalidInput(mismatch("--configs", "no option of one model beside it", ", ".join(one)))
        run, chosen = processes.check_drawn, variants.drawn(options.configs, cells, dtypes, options.seed)
    with console.Stages() as stages:
        stream = run(names, chosen, options.jobs, stages.stage)
        found = _collect(options, chain(environment(names), stream))
    if not options.json:
        tables.print_checks(found)
        if options.configs is not None:
            tables.print_coverage(found, len(chosen))
    return 0 if ladder.all_passed(found) and _all_compared(names, found, options.backend) else 1


def _fitting(cells: Sequence[str], one: dict[str, Any]) -> list[str]:
    """The cells that have the options; the others are named on stderr, with the reason."""
    fitting, problems = [], []
    for cell in cells:
        try:
            arguments.variant(cell, "float64", 0, one)
            fitting.append(cell)
        except InvalidInput as error:
            problems.append((cell, error))
    if not fitting:
        raise problems[0][1]
    for cell, error in problems:
        console.message(f"{cell} is left out: {error}")
    return fitting


def _able(names: list[str], chosen: Sequence[variants.Variant]) -> list[str]:
    """The backends that support all variants; the others are named on stderr."""
    able = []
    for name in names:
        lacks = {what for v in chosen for what in unsupported(registry.load(name), v.spec, v.lengths is not None)}
        if lacks:
            console.message(f"{name} is left out: it does not support {', '.join(sorted(lacks))}")
        else:
            able.append(name)
    return able


def _all_compared(names: Sequence[str], found: Sequence[Record], asked_for: Sequence[str] | None) -> bool:
    """False, with a message, if a backend that was asked for took part in no comparison."""
    seen = {record[side] for record in found if record["kind"] == "check" for side in ("a", "b")}
    for name in names:
        if name not in seen:
            text = "that is a failure." if asked_for else "it supports none of the models."
            console.message(f"{name} took part in no comparison: {text}")
    return not asked_for or seen.issuperset(names)


def train(options: Namespace) -> int:
    """Train in every chosen backend; several are compared as well."""
    chosen = settings.given(options)
    require_seed(chosen.get("seed", 0))
    options.backend = chosen.get("backend")
    return training.train_command(options, chosen, _names(options), _collect)


def generate(options: Namespace) -> int:
    """Continue a text with a trained network."""
    return training.generate_command(options, *_names(options)[:1])


def predict(options: Namespace) -> int:
    """Use a trained network."""
    return training.predict_command(options, *_names(options)[:1])


def bench(options: Namespace) -> int:
    names = _names(options)
    chosen = benchmark.cases(_cells(options), options.size or list(benchmark.SIZES), _dtypes(options), options.seed)
    with console.Stages() as stages:
        advance = stages.stage("timings", len(chosen))
        found = _collect(options, benchmark.bench(names, chosen, options.rounds, lambda _: advance()))
    if not options.json:
        tables.print_bench(records.of_kind(found, Bench))
    return 0


def study(options: Namespace) -> int:
    names = _names(options)
    if options.full:
        _tell_what_is_left_out(names, _cells(options), _dtypes(options))
    reports = load_reports()
    folder = Path(options.out)
    unfinished, final = folder / "records.jsonl.part", folder / "records.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = unfinished.open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidInput(mismatch("output folder", "a writable folder", f"{folder} ({error})")) from error
    found: list[Record] = []
    try:
        with stream, console.Stages() as stages, records.writing(stream, options.command, options.seed) as writer:
            wanted = (names, _cells(options), _dtypes(options), options.seed, options.jobs, options.rounds)
            for record in studies.study(*wanted, stages.stage, options.full):
                writer.write(record)
                found.append(record)
    except BaseException:
        console.message(f"What was measured is kept: rosetta report --partial {unfinished}")
        raise
    unfinished.replace(final)
    complete = records.read(final)
    page = reports.write(complete, folder)
    verdict = reports.verdict(complete)
    if options.json:
        sys.stdout.write(final.read_text(encoding="utf-8"))
    else:
        tables.print_checks(found)
        if timings := [record for record in records.of_kind(found, Bench) if record["backward"]]:
            tables.print_bench(timings)
        console.line(verdict.sentence)
        console.line(f"Report: {page}")
    return 0 if verdict.passed else 1


def _tell_what_is_left_out(names: Sequence[str], cells: Sequence[str], dtypes: Sequence[str]) -> None:
    """The tasks of the full study are trained in three backends, with two cells, in float64."""
    tasks.pieces(names, cells, 0)  # raises if nothing is left
    others = [name for name in names if name not in tasks.BACKENDS]
    others += [cell for cell in cells if cell not in tasks.CELLS] + [d for d in dtypes if d != "float64"]
    if others:
        console.message(f"The tasks of --full are not trained with {', '.join(others)}; the checks are made with all")


def load_reports() -> Any:
    """The package that renders, whose libraries are an extra."""
    for library in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise BackendMissing(f"the report needs {library}, which is not installed; run: pip install -e '.[report]'")
    return importlib.import_module("reports")


def report(options: Namespace) -> int:
    reports = load_reports()
    path = Path(options.records)
    partial = False
    try:
        found = records.read(path)
    except RecordsCut as error:
        if not options.partial:
            raise
        found, partial = error.intact, True
    page = reports.write(found, Path(options.out) if options.out else path.parent, partial=partial)
    verdict = reports.verdict(found, partial)
    if options.json:
        print(records.dumps({"report": str(page), "passed": verdict.passed, "verdict": verdict.sentence}))
    else:
        console.line(verdict.sentence)
        console.line(f"Report: {page}")
    return 0 if verdict.passed else 1
