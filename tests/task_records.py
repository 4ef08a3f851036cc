"""Invented records of the full study, and what the tests of its report use to read them."""

from dataclasses import asdict
from functools import cache
from typing import Any

from common.datasets import TASKS
from common.model.run import OptimizerSpec
from common.model.spec import ModelSpec
from reports.sections import build

SEEDS = (4, 5, 6, 7, 8)
VARIANTS = [(name, reading) for name, task in TASKS.items() for reading in task.readings]
SCATTER = {"plot": "scatter", "target": [0.5, 1.0, 1.5], "prediction": [0.75, 1.0, 1.0]}
RULE = asdict(OptimizerSpec(name="adam", lr=0.02, clip_norm=1.0))
ADDING: Any = {
    "kind": "outcome",
    "task": "adding",
    "reading": "modern",
    "options": {},
    "spec": asdict(ModelSpec(cell="RNN", input_size=2, hidden_size=32)),
    "inputs": "features",
    "optimizer": RULE,
    "epochs": 8,
    "batch_size": None,
    "patience": None,
    "input_bias": None,
    "dtype": "float64",
    "readout": "last_step",
    "loss": "mse",
    "parameters": 1185,
    "metric": "MSE",
    "metric_text": "the mean squared error (MSE)",
    "higher": False,
    "share": False,
    "tested": 10**9,
    "baseline": 0.16,
    "baseline_text": "always 1",
    "updates": 500,
}
ORDER: Any = ADDING | {"task": "temporal-order", "reading": "6a", "metric": "accuracy", "higher": True, "share": True}
ORDER |= {"metric_text": "the share of correct answers (accuracy)", "baseline": 0.25}
CURVE = {"curve": [[1, 0.5], [10, 0.25], [500, 0.125]], "evaluations": []}
DRIFT = [[1, 0.0], [8, 1e-15], [90, 2e-8], [300, 1e-12], [500, 5e-4]]


def outcome(cell="RNN", seed=4, score: float | None = 0.2, backend="numpy", of=ADDING, **options) -> Any:
    """A run; the reference has a curve, others a drift from it."""
    row = of | {"cell": cell, "spec": of["spec"] | {"cell": cell}, "seed": seed, "backend": backend}
    row |= {"score": score, "seconds": 2.5, "ended": "finished"}
    return row | (CURVE if backend == "numpy" else {"drift": DRIFT, "reference": "numpy"}) | options


def model(row, **changes) -> Any:
    """The same with another model."""
    return row | {"spec": row["spec"] | changes}


def other(row, **options) -> Any:
    """The same run in another backend."""
    rest = {key: value for key, value in row.items() if key not in ("curve", "evaluations", "picture")}
    return rest | {"backend": "jax", "drift": DRIFT, "reference": "numpy"} | options


def diverged(cell="RNN", seed=4, **options) -> Any:
    row = outcome(cell, seed, **options) | {"ended": "diverged", "problem": "loss is not finite after 7 updates"}
    missing = ("score", "updates", "seconds", "curve", "drift", "reference")
    return {key: value for key, value in row.items() if key not in missing}


def several(scores, of=ADDING) -> list[Any]:
    """One run of each cell a seed, from cell -> scores."""
    return [
        outcome(cell, seed, score, of=of)
        for cell, found in scores.items()
        for seed, score in zip(SEEDS, found, strict=True)
    ]


def runs(rnn, lstm, of=ADDING) -> list[Any]:
    return several({"RNN": rnn, "LSTM": lstm}, of)


def norms(cell, stage, factor, backend="numpy", gap=0.0, **states) -> Any:
    """Those of h multiplied by a factor at each step back, and those of other ``states``."""
    values = [3.0 * (1 + gap) * factor ** (20 - t) for t in range(21)]
    row = {"kind": "gradient-norms", "task": "adding", "cell": cell, "stage": stage, "backend": backend, "seed": 4}
    return row | {"sequences": 20, "norms": {"h": values, **states}}


def sample(cell="LSTM", backend="numpy", temperature=0.0, text="of  the\n  list <b>~~~~") -> Any:
    row = {"kind": "sample", "task": "text", "cell": cell, "backend": backend, "seed": 4, "prompt": "The "}
    return row | {"temperature": temperature, "text": text}


PICTURES = {
    ("sine", "windows"): {
        "plot": "series",
        "series": [0.0, 0.5, 1.0, 0.5],
        "position": [2, 3],
        "prediction": [0.75, 0.5],
    },
    ("sum", "sequence"): {"plot": "by_length", "lengths": [14.0, 60.0], "errors": [1.5, 3.0], "baseline": [9.0, 6.0]}
    | {"unit": "mean absolute error of the sum"},
    ("adding", "modern"): SCATTER,
    ("temporal-order", "6a"): {"plot": "confusion", "labels": ["Q", "R"], "counts": [[30, 2], [11, 7]]},
    ("reber", "embedded"): {"plot": "strings", "columns": ["string", "legal"], "rows": [["BT|P`E", "T"], ["BP", "P"]]},
    ("copy", "copy"): {"plot": "by_step", "steps": [1, 2], "values": [0.75, 0.5], "baseline": [0.125, 0.125]}
    | {"name": "accuracy of the digit"},
}
ALL: list[Any] = [
    outcome(cell, of=ADDING | {"task": task, "reading": reading})
    for task, reading in VARIANTS
    for cell in ("RNN", "LSTM")
]
ALL = [row | ({"picture": PICTURES[key]} if (key := (row["task"], row["reading"])) in PICTURES else {}) for row in ALL]
ALL += [other(row) for row in ALL]
FLOW = [norms("RNN", "before", 0.5), norms("RNN", "before", 0.5, "jax", 3e-13), norms("RNN", "after", 0.25)]
FLOW += [norms("LSTM", "before", 0.875), norms("LSTM", "after", 0.96875)]
HEADER = {"kind": "header", "command": ["rosetta", "study", "--full", "--seed", "4"], "seed": 4}
HEADER |= {"schema": 2, "version": "0.1.0", "python": "3.11.7"}
STUDY = [HEADER, *ALL, *FLOW, sample(), sample(temperature=0.7)]


@cache
def study():
    return build(STUDY)


def section(records, anchor):
    report = study() if records is STUDY else build(records)
    return next(part for part in report.sections if part.anchor == anchor)


def lines(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]
