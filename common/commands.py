"""The commands behind ``rosetta``: each takes the parsed options and returns the exit code."""

import importlib
import importlib.util
import sys
from argparse import Namespace
from collections.abc import Iterable
from itertools import chain, product
from pathlib import Path
from typing import Any

from common import bench as benchmark
from common import console, datasets, equivalence, parallel, records, registry, summaries
from common import study as studies
from common.errors import BackendBroken, BackendMissing, InvalidInput, RecordsCut, mismatch
from common.records import Record
from common.spec import CELLS, RunSpec, check_seed


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


def _jobs(options: Namespace) -> int:
    if options.jobs < 0:
        raise InvalidInput(mismatch("--jobs", "at least 1", options.jobs))
    return options.jobs or parallel.cpu_count()


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise InvalidInput(mismatch(name, "at least 1", value))


def _collect(options: Namespace, stream: Iterable[Record]) -> list[Record]:
    """All records of the stream; with --json, each is printed as it comes."""
    if not options.json:
        return list(stream)
    found = []
    with records.writing(sys.stdout, options.command) as writer:
        for record in stream:
            writer.write(record)
            found.append(record)
    return found


def check(options: Namespace) -> int:
    check_seed(options.seed)
    names = _names(options)
    variants = equivalence.variants(_cells(options), _dtypes(options))
    with console.Stages() as stages:
        stream = studies.check(names, variants, options.seed, _jobs(options), stages.stage)
        found = _collect(options, chain(studies.environment(names), stream))
    if not options.json:
        summaries.print_checks(found, options.seed)
    return 0 if equivalence.all_passed(found) else 1


def train(options: Namespace) -> int:
    """Train in every chosen backend; several are compared as well."""
    check_seed(options.seed)
    names = _names(options)
    optimizer = studies.optimizer(options.optimizer, options.lr)
    extra = {"nonlinearity": options.nonlinearity, "bias": not options.no_bias}
    runs: list[tuple[str, str, RunSpec]] = []
    for dtype, cell in product(_dtypes(options), _cells(options)):
        data = datasets.load(options.task, options.reading, dtype)
        network = data.network(cell, options.hidden_size, **extra)
        run = RunSpec(network=network, optimizer=optimizer, epochs=options.epochs, seed=options.seed)
        runs.append((data.task, data.reading, run))
    with console.Stages() as stages:
        stream = (record for run in runs for record in studies.train_everywhere(names, *run, stages.stage))
        found = _collect(options, chain(studies.environment(names), stream))
    if not options.json:
        summaries.print_training(found)
        if len(names) > 1:
            summaries.print_checks(found, options.seed)
    return 0 if len(names) == 1 or equivalence.all_passed(found) else 1


def bench(options: Namespace) -> int:
    check_seed(options.seed)
    _at_least_one("--rounds", options.rounds)
    names = _names(options)
    chosen = benchmark.cases(_cells(options), options.size or list(benchmark.SIZES), _dtypes(options), options.seed)
    with console.Stages() as stages:
        advance = stages.stage("timings", len(chosen))
        found = _collect(options, benchmark.bench(names, chosen, options.rounds, lambda _: advance()))
    if not options.json:
        summaries.print_bench(found)
    return 0


def study(options: Namespace) -> int:
    check_seed(options.seed)
    _at_least_one("--rounds", options.rounds)
    names = _names(options)
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
        with stream, console.Stages() as stages, records.writing(stream, options.command) as writer:
            arguments = (names, _cells(options), _dtypes(options), options.seed, _jobs(options), options.rounds)
            for record in studies.study(*arguments, stages.stage):
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
        summaries.print_checks(found, options.seed)
        if timings := [record for record in found if record["kind"] == "bench" and record["backward"]]:
            summaries.print_bench(timings)
        print(verdict.sentence)
        print(f"Report: {page}")
    return 0 if verdict.passed else 1


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
        print(verdict.sentence)
        print(f"Report: {page}")
    return 0 if verdict.passed else 1


def ls(options: Namespace) -> int:
    """What there is; imports no framework."""
    lists: dict[str, list[dict[str, Any]]] = {
        "backends": [
            {"name": name, "summary": entry.summary, "installed": _installed(entry)}
            for name, entry in registry.available().items()
        ],
        "cells": [{"name": cell, "summary": f"as torch.nn.{cell}"} for cell in CELLS],
        "tasks": [
            {"name": name, "summary": task.summary, "readings": task.readings} for name, task in datasets.TASKS.items()
        ],
        "checks": [{"name": name, "summary": text} for name, text in equivalence.CHECKS.items()],
    }
    if options.json:
        for what, items in lists.items():
            for item in items:
                print(records.dumps({"list": what, **item}))
        return 0
    for what, items in lists.items():
        lines = []
        for item in items:
            state = {True: "", False: " (not installed)", None: ""}[item.get("installed")]
            lines.append((item["name"], item["summary"] + state))
            lines += [(f"  {name}", text) for name, text in item.get("readings", {}).items()]
        console.table(what, ("name", "what it is"), lines)
    return 0


def _installed(entry: registry.Entry) -> bool:
    needed = registry.FRAMEWORKS.get(entry.extra or "", ())
    return all(importlib.util.find_spec(name) is not None for name in needed)


def doctor(options: Namespace) -> int:
    """What each backend runs on. With --backend, one that does not load is an error; without, it is reported."""
    found: list[Record] = list(studies.environment([]))
    problems: list[tuple[str, str]] = []
    for name in dict.fromkeys(options.backend or options.default_backends):
        try:
            found += list(studies.environment([name]))[1:]
        except (BackendMissing, BackendBroken) as error:
            if options.backend:
                raise
            problems.append((name, str(error)))
    if options.json:
        for record in found:
            print(records.dumps(record))
        for name, problem in problems:
            print(records.dumps({"kind": "environment", "of": name, "problem": problem}))
        return 0
    for record in found:
        facts = {key: value for key, value in record.items() if key not in ("kind", "of")}
        console.table(record["of"], ("what", "value"), [(key, records.plain(value)) for key, value in facts.items()])
    for name, problem in problems:
        console.message(f"{name}: {problem}")
    return 0
