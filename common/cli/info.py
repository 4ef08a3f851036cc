"""The commands that tell what there is: the lists, the environment, a model in words."""

import importlib.util
from argparse import Namespace
from dataclasses import asdict, fields
from typing import Any

from common import datasets, records
from common.backend import registry
from common.cli import console
from common.cli.arguments import MODEL, given
from common.equivalence import ladder
from common.errors import BackendBroken, BackendMissing, InvalidInput, mismatch
from common.model import describe as descriptions
from common.model.spec import CELLS, ModelSpec
from common.record_types import Environment
from common.study.environment import environment


def ls(options: Namespace) -> int:
    """What there is; imports no framework."""
    lists: dict[str, list[dict[str, Any]]] = {
        "backends": [
            {"name": name, "summary": entry.summary, "installed": _installed(entry)}
            for name, entry in registry.available().items()
        ],
        "cells": [{"name": cell, "summary": f"as torch.nn.{cell}"} for cell in CELLS],
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
            columns = ("name", "what it is, its readings and its source", "options", "trains in")
            console.table(what, columns, [_task_line(item) for item in items], rules=True)
            continue
        lines = []
        for item in items:
            state = {True: "", False: " (not installed)", None: ""}[item.get("installed")]
            lines.append((item["name"], item["summary"] + state))
        console.table(what, ("name", "what it is"), lines)
    return 0


def _task(task: datasets.Task) -> dict[str, Any]:
    """What a task is; its data is not made."""
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
    """What each backend runs on. With --backend, one that does not load is an error; without, it is reported."""
    found = list(environment([]))
    problems: list[tuple[str, str]] = []
    for name in dict.fromkeys(options.backend or options.default_backends):
        try:
            found += list(environment([name]))[1:]
        except (BackendMissing, BackendBroken) as error:
            if options.backend:
                raise
            problems.append((name, str(error)))
    if options.json:
        for record in found:
            print(records.dumps(record))
        for name, problem in problems:
            print(records.dumps(Environment(kind="environment", of=name, facts={"problem": problem})))
        return 0
    for record in found:
        facts = [(key, records.plain(value)) for key, value in record["facts"].items()]
        console.table(record["of"], ("what", "value"), facts)
    for name, problem in problems:
        console.message(f"{name}: {problem}")
    return 0


def describe(options: Namespace) -> int:
    """A model's parameters, equations and shapes; imports no framework."""
    chosen = given(options, MODEL)
    for name in ("input_size", "hidden_size"):
        if name not in chosen:
            option, wanted = f"--{name.replace('_', '-')}", f"a size, as torch.nn.{options.cell} needs it"
            raise InvalidInput(mismatch(option, wanted, "none"))
    spec = ModelSpec(cell=options.cell, **chosen)
    axes = {"steps": options.seq_len, "batch": options.batch, "batch_first": options.batch_first}
    found = descriptions.describe(spec, **axes, batched=not options.unbatched)
    if options.json:
        print(records.dumps(asdict(found)))
        return 0
    shape = descriptions.shape_text
    rows = [(row.name, shape(row.shape), str(row.count), row.role) for row in found.parameters]
    columns = ("name", "shape", "count", "place in the equations")
    console.line(found.constructor)
    console.table("parameters", columns, [*rows, ("total", "", str(found.total), "")], numeric=("count",))
    console.line("\n  ".join(["equations", *found.equations]))
    console.table("shapes", ("name", "shape"), [(name, shape(axes)) for name, axes in found.shapes.items()])
    if found.relations:
        equal = [(f"{relation.left} == {relation.right}", relation.text) for relation in found.relations]
        console.table("what output and h_n share", ("equal", "what it is"), equal)
    console.line("\n  ".join(["notes", *found.notes]))
    return 0
