"""The commands behind ``rosetta``: each takes the parsed options and returns the exit code."""

import importlib
import importlib.util
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import bench as benchmark
from common import console, datasets, equivalence, parallel, records, registry
from common import study as studies
from common.contract import Backend
from common.errors import BackendBroken, BackendMissing, InvalidInput, RecordsCut, mismatch
from common.records import Record
from common.spec import CELLS, RunSpec, check_seed
from common.training import train as run_training


def _backends(options: Namespace) -> list[Backend]:
    """The chosen backends, loaded, each once."""
    names = dict.fromkeys(options.backend or options.default_backends)
    return [registry.load(name) for name in names]


def _names(options: Namespace) -> list[str]:
    """The names they were chosen by, after making sure that they load."""
    _backends(options)
    return list(dict.fromkeys(options.backend or options.default_backends))


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


@contextmanager
def _output(options: Namespace) -> Iterator[Any]:
    """A call that takes each record: printed at once with --json, else kept for the tables."""
    kept: list[Record] = []
    if not options.json:
        yield kept.append, kept
        return
    with records.writing(sys.stdout, options.command) as writer:

        def take(record: Record) -> None:
            writer.write(record)
            kept.append(record)

        yield take, kept


def _collect(options: Namespace, stream: Iterable[Record]) -> list[Record]:
    with _output(options) as (take, kept):
        for record in stream:
            take(record)
    return kept


def _passed(found: Iterable[Record]) -> bool:
    """True if something was compared, and every comparison passed."""
    rows = [record for record in found if record["kind"] == "check"]
    return bool(rows) and all(row["passed"] and row["count"] > 0 for row in rows)


def _exit_code(found: Iterable[Record]) -> int:
    return 0 if _passed(found) else 1


def check(options: Namespace) -> int:
    check_seed(options.seed)
    names = _names(options)
    variants = equivalence.variants(_cells(options), _dtypes(options))
    with console.Stages() as stages:
        found = _collect(options, studies.check(names, variants, options.seed, _jobs(options), stages.stage))
    if not options.json:
        print_checks(found, options)
    elif not found:
        console.message("rosetta: nothing was compared")
    return _exit_code(found)


def print_checks(found: list[Record], options: Namespace) -> None:
    """One line a cell and dtype, then every comparison that failed."""
    rows = [record for record in found if record["kind"] == "check"]
    lines = []
    for cell, dtype in dict.fromkeys((row["cell"], row["dtype"]) for row in rows):
        group = [row for row in rows if (row["cell"], row["dtype"]) == (cell, dtype)]
        failed = sum(not row["passed"] for row in group)
        worst = max(group, key=_badness)
        where = f"{worst['check']} {worst['quantity']}, {worst['a']} - {worst['b']} ({worst['variant']})"
        lines.append(
            (cell, dtype, len(group), f"{_badness(worst):.2g}", where, f"{failed} FAILED" if failed else "passed")
        )
    columns = ("cell", "dtype", "comparisons", "worst error/tolerance", "where", "verdict")
    console.table("Equivalence", columns, lines, numeric=columns[2:4])
    failures = [row for row in rows if not row["passed"]]
    for row in failures[:20]:
        error, allowed = (("not finite" if row[k] is None else f"{row[k]:.2g}") for k in ("error", "tolerance"))
        print(f"FAILED {row['variant']} {row['dtype']}: {row['check']} {row['quantity']}, {row['a']} - {row['b']}")
        print(f"       expected an error of at most {allowed}, got {error}; {reproduce(row, options.seed)}")
    if len(failures) > 20:
        print(f"... and {len(failures) - 20} more; --json lists all")
    if not rows:
        print("Nothing was compared: that is a failure.")


def _badness(row: Record) -> float:
    ratio = row["ratio"]
    return float("inf") if ratio is None or ratio != ratio else ratio


def reproduce(row: Record, seed: int) -> str:
    """The command that makes this comparison again."""
    pair = [name for name in (row["a"], row["b"]) if name != "complex step"]
    backends = " ".join(f"--backend {name}" for name in pair)
    return f"rosetta check --cell {row['cell']} --dtype {row['dtype']} {backends} --seed {seed}"


def train(options: Namespace) -> int:
    check_seed(options.seed)
    chosen = _backends(options)
    optimizer = studies.optimizer(options.optimizer, options.lr)
    with console.Stages() as stages, _output(options) as (take, found):
        for dtype in _dtypes(options):
            data = datasets.load(options.task, options.reading, dtype)
            for cell in _cells(options):
                extra = {"nonlinearity": options.nonlinearity, "bias": not options.no_bias}
                network = data.network(cell, options.hidden_size, **extra)
                run = RunSpec(network=network, optimizer=optimizer, epochs=options.epochs, seed=options.seed)
                for backend in chosen:
                    advance = stages.stage(f"{cell} {dtype} {backend.name}", options.epochs)
                    result = run_training(backend, run, data.batch, lambda _, loss, a=advance: a(f"loss {loss:.6f}"))
                    take(studies.training_record(backend.name, data.task, data.reading, run, result))
    if not options.json:
        lines = [
            (r["cell"], r["dtype"], r["backend"], len(r["losses"]), f"{r['losses'][0]:.9g}", f"{r['final_loss']:.9g}")
            for r in found
        ]
        columns = ("cell", "dtype", "backend", "epochs", "first loss", "final loss")
        title = f"{options.task}, {found[0]['reading']}, {optimizer.name} with lr {optimizer.lr:g}"
        console.table(title, columns, lines, numeric=columns[3:])
    return 0


def bench(options: Namespace) -> int:
    check_seed(options.seed)
    _at_least_one("--rounds", options.rounds)
    names = _names(options)
    chosen = benchmark.cases(_cells(options), options.size or list(benchmark.SIZES), _dtypes(options), options.seed)
    with console.Stages() as stages:
        advance = stages.stage("timings", len(chosen))
        found = _collect(options, benchmark.bench(names, chosen, options.rounds, lambda _: advance()))
    if not options.json:
        print_bench(found)
    return 0


def print_bench(found: list[Record]) -> None:
    """Milliseconds and the ratio to the reference arm, one line a case and arm."""
    lines = []
    for record in found:
        if record["arm"] == record["reference"]:
            reference = record["seconds"]
        ratio = benchmark.ratio(record["seconds"], reference)  # pyright: ignore[reportPossiblyUnbound] - it comes first
        median = benchmark.median(record["seconds"])
        lines.append(
            (
                record["cell"],
                " ".join(str(record[size]) for size in ("steps", "batch", "input_size", "hidden_size")),
                record["dtype"],
                "forward + backward" if record["backward"] else "forward",
                record["arm"],
                f"{median * 1e3:.3g}",
                f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
                f"{record['flops'] / median / 1e9:.3g}",
                f"{record['first_call']:.2f}",
            )
        )
    columns = ("cell", "T B I H", "dtype", "pass", "arm", "ms", "times reference", "GFLOP/s", "first call, s")
    console.table("Speed: medians of the rounds, and the 95% interval of the ratio", columns, lines, columns[5:])
    print("Below 1 is faster than the reference. The A/A arm is the reference once more: its interval is the noise.")


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
        print_checks(found, options)
        if timings := [record for record in found if record["kind"] == "bench"]:
            print_bench(timings)
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
