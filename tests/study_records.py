"""Invented records of a study: comparisons, training runs, timings; and what the tests of its report read them with."""

import math
import re
from typing import Any

from common.equivalence.comparison import decided
from common.equivalence.variants import B, H, I, T, Variant
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from common.record_parts import Problem, Run
from common.study.runs import run_data
from common.training.settings import load
from reports.page.render import page
from reports.sections import build

SERIES, POSITION = [math.sin(0.3 * i) for i in range(40)], list(range(5, 40))
ENVIRONMENT = {"numpy": "2.4.6", "blas": {"architecture": "SkylakeX", "num_threads": 2}}


def problem(
    cell="RNN", *, dtype="float64", input_size=I, hidden_size=H, steps=T, batch=B, lengths=None, seed=3, **options
) -> Problem:
    """The data of a variant; ``options`` are those of its model."""
    spec = ModelSpec(cell=cell, dtype=dtype, input_size=input_size, hidden_size=hidden_size, **options)
    return Variant(spec=spec, steps=steps, batch=batch, lengths=lengths, given_state=False, seed=seed).data


def run(
    optimizer="sgd", lr=0.05, *, cell="RNN", dtype="float64", reading="windows", epochs=4, seed=3, **options
) -> Run:
    """The data of a training run on the sine wave; ``options`` are those of its model."""
    network = load({"reading": reading}, dtype).network(cell, options.pop("hidden_size", 32), **options)
    rule = OptimizerSpec(name=optimizer, lr=lr)
    return run_data("sine", reading, RunSpec(network=network, optimizer=rule, epochs=epochs, seed=seed), {})


def check(quantity="y", ratio: float | None = 0.25, *, a="numpy", b="jax", rung="forward", **options) -> Any:
    """One comparison, with the verdict that its numbers bear out."""
    row = {"kind": "check", "check": rung, "cell": "RNN", "variant": "RNN", "dtype": "float64", "quantity": quantity}
    row |= {"a": a, "b": b, "count": 315, "ratio": ratio, "drawn": False, "reason": "", "resolution": 2e-11}
    known = (None, None, None) if ratio is None else (ratio * 1e-11, 0.5, 1e-11)
    row: dict = row | dict(zip(("error", "scale", "tolerance"), known, strict=True))
    row |= {"options": ["tanh", "no state", "plain"], "run": None} | options
    if "problem" not in row:
        row["problem"] = problem(row["cell"], dtype=row["dtype"]) if row["run"] is None else None
    verdict = decided(row["resolution"], row["dtype"]) if ratio is not None and ratio <= 1 else "failed"
    whole: dict = {"verdict": verdict, "resolutions": {quantity: row["resolution"]}, "verdicts": {quantity: verdict}}
    if "resolutions" in row:
        whole["verdicts"] = {name: decided(value, row["dtype"]) for name, value in row["resolutions"].items()}
    return whole | row


def of_run(quantity="curve", ratio: float | None = 0.25, *, optimizer="sgd", **options) -> Any:
    """One comparison of training runs on the sine wave."""
    return check(quantity, ratio, rung="task", run=run(optimizer), **options)


def drawn(ratio: float | None, options: str, of: Problem, *, b="jax", **more) -> Any:
    """A rung and pair on a variant drawn at random, and what it compares worst."""
    more |= {"options": [*options.split("|"), "plain"], "problem": of, "drawn": True}
    return check("dweight_ih_l1_reverse", ratio, b=b, **({"rung": "gradient"} | more))


def training(backend="numpy", gap=0.0, *, of: Run | None = None, dtype="float64", **options) -> Any:
    """A loss that halves, and at update 2 is off by ``gap``, relative to itself."""
    losses, prediction = [0.5, 0.25, 0.125 * (1 + gap), 0.0625], [SERIES[i] + 0.1 + gap for i in POSITION]
    of = run(dtype=dtype) if of is None else of
    row: dict = {"kind": "training", **of, "cell": of["spec"]["cell"], "dtype": dtype, "backend": backend}
    row |= {"losses": losses, "evaluations": [], "metric": "MSE", "score": 0.03, "baseline": 0.5, "ended": "finished"}
    return row | {"final_loss": 0.03125, "prediction": prediction} | options


def bench(arm="torch.nn", scale=1.0, **options) -> Any:
    """Eleven rounds; the arm is slower by ``scale`` in each."""
    case: dict = {"kind": "bench", "cell": "LSTM", "steps": 25, "batch": 176, "input_size": 1, "hidden_size": 32}
    case |= {"backward": False, "dtype": "float32", "seed": 0, "flops": 4_000_000, "reference": "torch.nn"}
    case |= {"backend": arm, "arm": arm, "seconds": [scale * (0.002 + 0.0001 * (i % 3)) for i in range(11)]}
    return case | {"calls": 9, "first_call": 0.75, "environment": ENVIRONMENT} | options


def environment(of: str, facts: dict[str, Any]) -> Any:
    return {"kind": "environment", "of": of, "facts": facts}


HEADER: Any = {"kind": "header", "schema": 2, "command": ["rosetta", "study", "--seed", "3"], "seed": 3}
HEADER |= {"version": "0.1.0", "python": "3.11.7"}
TASK: Any = {"kind": "task", "task": "sine", "reading": "windows", "summary": "time runs inside a window", "steps": 5}
TASK |= {"batch": 35, "series": SERIES, "position": POSITION}
ONE_BIAS: Any = {"kind": "one-bias", **run("adam", 0.01), "two_biases": [0.5, 0.4, 0.2], "one_bias": [0.5, 0.3, 0.19]}
STUDY: list[Any] = [HEADER, TASK, ONE_BIAS, environment("machine", {"system": "Linux"})]
STUDY += [environment("numpy", ENVIRONMENT), check("y", 0.25), check("y", 0.75, a="jax", b="torch")]
STUDY += [check("dx", 0.0042, rung="gradient", variant="RNN relu"), check("dx", 0.0011, rung="gradient")]
STUDY += [check("dx", 0.5, rung="complex step", b="complex step"), check("dx", 0.1, b="one-bias", rung="gradient")]
STUDY += [training(), training("jax", 4e-14), training(dtype="float32"), training("jax", 3e-6, dtype="float32")]
STUDY += [training("torch", 1e-15), bench(), bench("numpy", 0.5), bench("jax", 3.0), bench("flax", 2.0)]
STUDY += [bench("torch.nn (A/A)", 1.5, backend="torch.nn")]
RNN, LSTM, SHORT = problem(seed=4), problem("LSTM", proj_size=2, seed=9), problem(steps=1, seed=6)
DRAWN: list[Any] = [drawn(0.25, "T=1|tanh", SHORT), drawn(0.5, "T=1|tanh", SHORT, b="flax")]
DRAWN += [drawn(0.125, "tanh|lengths", RNN), drawn(0.0625, "tanh|lengths", RNN, b="flax")]
DRAWN += [drawn(0.03125, "tanh|lengths", RNN, rung="forward")]
DRAWN += [drawn(0.75, "tanh|lengths", RNN, b="complex step", rung="complex step")]
DRAWN += [drawn(0.875, "proj_size|given state", LSTM, cell="LSTM"), drawn(0.0, "relu", RNN, a="flax", dtype="float32")]
DRAWN += [drawn(0.375, "relu|H=1", RNN, a="jax", b="torch", dtype="bfloat16", rung="forward")]
DRAWN += [drawn(0.5, "relu|no bias", RNN, b="one-bias")]


def html(records: list[Any]) -> str:
    return page(build(records))


def section(records: list[Any], anchor: str) -> Any:
    return next(part for part in build(records).sections if part.anchor == anchor)


def rows(table: Any) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def tags(text: str) -> set[str]:
    return set(re.findall(r"<([a-z0-9]+)", text))


def closed(text: str) -> bool:
    """Whether every element that can be left open is closed as often as it is opened."""
    names = tags(text) - {"meta", "link", "path", "rect", "use"}
    return all(len(re.findall(rf"<{name}[ >]", text)) == text.count(f"</{name}>") for name in names)
