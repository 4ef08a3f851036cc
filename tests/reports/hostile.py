"""Records of every kind, and the same records with another text in place of one of their strings."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.study_records import (
    HEADER,
    ONE_BIAS,
    RNN,
    SHORT,
    TASK,
    bench,
    check,
    drawn,
    environment,
    of_run,
    problem,
    run,
    training,
)
from tests.task_records import ADDING, FLOW, PICTURES, RULE, diverged, model, other, outcome, sample

# Keys that a record may have or not, and that are shown.
FREE = ("system", "device", "architecture")
Records = list[Any]
TEXT = ADDING | {"task": "text", "reading": "characters"}
MACHINE = environment("machine", {"system": "Linux"})
BLAS = {"internal_api": "openblas", "version": "0.3", "architecture": "SkylakeX"}
FACTS = {"device": "cpu", "cpu_capability": "avx", "blas": BLAS}
NUMPY = environment("numpy", FACTS)
TRAINED = {"epochs": 3, "batch_size": 4, "optimizer": RULE | {"schedule": "cosine", "schedule_steps": 9}}
ARMS = [bench(environment=FACTS), bench("numpy", 0.5, environment=FACTS), bench("torch.nn (A/A)", backend="torch.nn")]
FAILED = check("dx", 9.0, rung="gradient", smallest=problem(steps=1, hidden_size=1))
DRAWN = [drawn(0.25, "tanh", RNN), drawn(2.0, "T=1|tanh", SHORT), drawn(0.5, "tanh", RNN, b="one-bias")]
SETTINGS = {"inputs": "embedding", "options": {"text": "a file"}}
# A run on a task whose optimiser has a schedule, and a problem that is not plain: every string of a command.
SCHEDULED = run() | SETTINGS | {"optimizer": run()["optimizer"] | {"schedule": "cosine", "schedule_steps": 9}}
CURVE = of_run(ratio=9.0) | {"run": SCHEDULED}
HUGE = check("y", 9.0, problem=problem() | {"regime": "huge"})
PAIRS = {key: outcome(cell, of=ADDING | {"task": key[0], "reading": key[1]}) for key in PICTURES for cell in ("LSTM",)}
# Small sets, each drawn and written in a moment, that together have every field of every kind.
SETS: dict[str, Records] = {
    "header": [HEADER, check(), {"kind": "end", "records": 1}],
    "command of a check": [HEADER | {"command": ["rosetta", "check", "--json", "--seed", "3"]}, check()],
    "environment": [MACHINE, NUMPY],
    "check": [HEADER, check(), FAILED, *DRAWN],
    "command of a row": [CURVE, HUGE],
    "training": [TASK, training() | SETTINGS, training("jax", 4e-14) | SETTINGS],
    "one-bias": [ONE_BIAS, check("dx", 0.1, b="one-bias", rung="gradient")],
    "bench": ARMS,
    "outcome": [
        model(outcome(), hidden_size=8, forget_bias=1.0) | TRAINED,
        other(outcome(), reference="numpy"),
        diverged("LSTM", backend="jax"),
    ],
    **{
        f"picture {row['picture']['plot']}": [row] for row in (PAIRS[key] | {"picture": PICTURES[key]} for key in PAIRS)
    },
    "sample": [outcome(of=TEXT), sample(), sample(backend="jax", text="to")],
    "gradient-norms": FLOW,
    "trace": [{"kind": "trace", "backend": "numpy", "cell": "RNN", "arrays": {"x": [[1.0]]}, "lines": []}],
}


class Field(NamedTuple):
    """A string of a set of records: of which kind, under which keys; "key" follows what is a key itself."""

    of: str
    kind: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.of, self.kind, *self.path))


def fields() -> list[Field]:
    """Every string of every set, but the kind, which must be right; of a picture's set what only pictures show."""
    found: dict[Field, None] = {}
    for name, records in SETS.items():
        for record in records:
            for path, _ in _strings(record, ()):
                if path[0] not in ("kind", *(("metric", "readout", "ended") if "picture" in name else ())):
                    found[Field(name, record["kind"], path)] = None
    return list(found)


def _strings(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, (*path, "[]"))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
            if key in FREE:
                yield (*path, key, "key"), key


def changed(field: Field, text: str) -> Records:
    """The set of a field with another text in it, in all records of its kind."""
    return replaced(SETS[field.of], field, text)


def replaced(records: Records, field: Field, text: str) -> Records:
    """The same with another text in a field, in all records of its kind."""
    return [_changed(row, (), field.path, text) if row["kind"] == field.kind else row for row in records]


def _changed(value: Any, here: tuple[str, ...], path: tuple[str, ...], text: str) -> Any:
    if isinstance(value, str):
        return text if here == path else value
    if isinstance(value, list | tuple):
        return [_changed(item, (*here, "[]"), path, text) for item in value]
    if isinstance(value, dict):
        return {
            text if (*here, key, "key") == path else key: _changed(item, (*here, key), path, text)
            for key, item in value.items()
        }
    return value
