"""``rosetta describe``, ``ls`` and ``doctor``: a model in words, all names, and what everything runs on."""

import importlib.util
from argparse import Namespace
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from common import datasets, records
from common.backend import registry
from common.cli import console
from common.cli.layers import chosen
from common.cli.layers.chosen import WIDTH
from common.cli.options import MODEL_ROWS, Verbs, add_backends, add_rows, add_verb, at_least, given, named
from common.equivalence import ladder
from common.errors import BackendBroken, BackendMissing, InvalidInput, closest, mismatch
from common.model import describe as descriptions
from common.model.cells import CELLS, TABLE, Cell
from common.model.spec import ModelSpec
from common.record_types import Environment
from common.study.environment import environment
from common.weights import contents
from common.weights.layer import path_text, select

# What torch.nn's layers have, as ``describe`` shows one of them.
DESCRIBED = {name: row for name, row in MODEL_ROWS.items() if name not in ("input_dropout", "recurrent_dropout")}
REVERSE = "t counts from the end of the sequence: x_1 is the last input, as this is the reverse direction."
LISTS = ("backends", "cells", "tasks", "checks")


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "describe", describe, "list a model's parameters, equations and shapes")
    text = f"one of {', '.join(CELLS)}, or a file of weights, which decides the sizes"
    parser.add_argument("model", metavar="CELL|FILE", help=text)
    chosen.add_layer(parser)
    text = "the cell of a layer whose file does not record it"
    parser.add_argument("--cell", type=named(CELLS), metavar="NAME", help=text)
    add_rows(parser, "model", DESCRIBED.values())
    group = parser.add_argument_group("input")
    group.add_argument("--batch-first", action="store_true", help="x is (B, T, I) instead of (T, B, I)")
    group.add_argument("--seq-len", type=at_least(1), metavar="T", help="time steps (default: the letter T)")
    group.add_argument("--batch", type=at_least(1), metavar="B", help="sequences (default: the letter B)")
    group.add_argument("--unbatched", action="store_true", help="one sequence without a batch axis")

    parser = add_verb(verbs, "ls", ls, "list the backends, cells, tasks and checks")
    text = f"one of {', '.join(LISTS)} (default: all)"
    parser.add_argument("what", nargs="?", type=named(LISTS), help=text)

    text = "print versions, kernels, threads, precision switches and devices"
    add_backends(add_verb(verbs, "doctor", doctor, text), registry.DEFAULT)


def ls(options: Namespace) -> int:
    """List what can be named; imports no framework."""
    lists: dict[str, list[dict[str, Any]]] = {
        "backends": [
            {"name": name, "summary": entry.summary, "installed": _installed(entry)}
            for name, entry in registry.available().items()
        ],
        "cells": [{"name": name, "summary": _summary(cell)} for name, cell in TABLE.items()],
        "tasks": [_task(task) for task in datasets.TASKS.values()],
        "checks": [{"name": name, "summary": text} for name, text in ladder.CHECKS.items()],
    }
    if options.what:
        lists = {options.what: lists[options.what]}
    if options.json:
        for what, items in lists.items():
            for item in items:
                print(records.dumps({"list": what, **item}))
        return 0
    for what, items in lists.items():
        if what == "tasks":
            columns = ("name", "what it is, its variants and its source", "options", "trains in")
            console.table(what, columns, [_task_line(item) for item in items], rules=True)
            continue
        lines = []
        for item in items:
            state = {True: "", False: " (not installed)", None: ""}[item.get("installed")]
            lines.append((item["name"], item["summary"] + state))
        console.table(what, ("name", "what it is"), lines)
    return 0


def _summary(cell: Cell) -> str:
    if cell.in_torch:
        return f"as torch.nn.{cell.name}"
    return f"as torch.nn.{cell.name.replace('1997', '')}, without a forget gate (Hochreiter & Schmidhuber 1997)"


def _task(task: datasets.Task) -> dict[str, Any]:
    """What a task is, without making its data."""
    options = {option.name: option.default for option in fields(task.options)}
    readings = {name: reading.summary for name, reading in task.readings.items()}
    facts = {"readings": readings, "source": task.source, "options": options, "seconds": task.seconds}
    return {"name": task.name, "summary": task.summary, **facts}


def _task_line(item: dict[str, Any]) -> tuple[str, ...]:
    readings = (f"{name}: {text}" for name, text in item["readings"].items())
    options = (f"{name}={value if value != '' else repr(value)}" for name, value in item["options"].items())
    what = "\n".join((item["summary"], *readings, f"source: {item['source']}"))
    return item["name"], what, "\n".join(options), f"{item['seconds']} s"


def _installed(entry: registry.Entry) -> bool:
    needed = registry.FRAMEWORKS.get(entry.extra or "", ())
    return all(importlib.util.find_spec(name) is not None for name in needed)


def doctor(options: Namespace) -> int:
    """Print what each backend runs on. One that does not load is an error only if --backend names it."""
    rows = list(environment([]))
    problems: list[tuple[str, str]] = []
    for name in dict.fromkeys(options.backend or options.default_backends):
        try:
            rows += list(environment([name]))[1:]
        except (BackendMissing, BackendBroken) as error:
            if options.backend:
                raise
            problems.append((name, str(error)))
    if options.json:
        for record in rows:
            print(records.dumps(record))
        for name, problem in problems:
            print(records.dumps(Environment(kind="environment", of=name, facts={"problem": problem})))
        return 0
    for record in rows:
        facts = [(key, records.plain(value)) for key, value in record["facts"].items()]
        console.table(record["of"], ("what", "value"), facts)
    for name, problem in problems:
        console.message(f"{name}: {problem}")
    return 0


def describe(options: Namespace) -> int:
    """Print a model's parameters, equations and shapes; imports no framework, but where a file needs its own."""
    file, layer, spec = None, None, _cell(options)
    if spec is None:
        chosen.refuse_beside(options, [name for name in DESCRIBED if name not in chosen.OPEN])
        file = chosen.read(options.model)
        layer = select(file, options.layer, **chosen.said(options))
        spec = layer.spec
        assert spec is not None  # or select would have refused it
        for note in layer.notes:
            console.message(note)
    axes = {"steps": options.seq_len, "batch": options.batch, "batch_first": options.batch_first}
    description = descriptions.describe(spec, **axes, batched=not options.unbatched)
    if options.json:
        facts = contents.layer_facts(file, layer) if file and layer else None
        print(records.dumps(asdict(description) | ({"file": options.model, "layer": facts} if facts else {})))
        return 0
    if file and layer:
        where = f"{path_text(layer.path)} in {file.path}: {file.format}, {spec.dtype}"
        console.line(f"{where}, {spec.label}, {spec.input_size} -> {spec.output_size}")
    shape = descriptions.shape_text
    rows = [(row.name, shape(row.shape), str(row.count), row.role) for row in description.parameters]
    columns = ("name", "shape", "count", "place in the equations")
    console.line(description.constructor)
    rows.append(("total", "", str(description.total), ""))
    console.table("parameters", columns, rows, numeric=("count",), width=WIDTH)
    if file and layer:
        chosen.print_arrays(file, layer)
    console.line("\n  ".join(["equations", *description.equations]))
    shapes = [(name, shape(axes)) for name, axes in description.shapes.items()]
    console.table("shapes", ("name", "shape"), shapes, width=WIDTH)
    if description.relations:
        equal = [(f"{relation.left} == {relation.right}", relation.text) for relation in description.relations]
        console.table("what output and h_n share", ("equal", "what it is"), equal, width=WIDTH)
    reverse = layer is not None and layer.path.endswith("_reverse")
    notes = [*description.notes, *([REVERSE] if reverse else [])]
    console.line("\n  ".join(["notes", *notes]))
    return 0


def _cell(options: Namespace) -> ModelSpec | None:
    """The model that CELL and the options describe; None where it is a file."""
    name = next((cell for cell in CELLS if cell.lower() == options.model.lower()), None)
    if name is None:
        path = Path(options.model)
        if path.suffix or len(path.parts) > 1 or path.exists():
            return None
        cause = closest(options.model, CELLS) or "there is no such file"
        raise InvalidInput(mismatch("CELL|FILE", f"one of {', '.join(CELLS)}, or a file", repr(options.model), cause))
    if options.layer is not None or options.cell is not None:
        option, value = ("layer", options.layer) if options.layer is not None else ("cell", options.cell)
        raise InvalidInput(mismatch(f"--{option}", f"none with {name}", value, "it is for a file of weights"))
    sizes = given(options, DESCRIBED)
    for size in ("input_size", "hidden_size"):
        if size not in sizes:
            option, wanted = f"--{size.replace('_', '-')}", f"a size, as {name} needs it"
            raise InvalidInput(mismatch(option, wanted, "none"))
    return ModelSpec(cell=name, **sizes)
