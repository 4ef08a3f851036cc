"""The tasks of the full study: every task, reading and cell over several seeds, in every backend from the same weights.

For each seed every backend trains from the weights and on the batches of that seed. The first backend is the reference:
it gives the curves and the pictures, and the others' drift is from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from time import perf_counter

import numpy as np

from common import datasets
from common.backend import registry
from common.datasets import Dataset
from common.errors import Diverged, InvalidInput, mismatch
from common.model.initial import initial_network
from common.model.layout import Parameters
from common.model.run import RunSpec
from common.parallel import Piece
from common.records import Record
from common.study.gradient_norms import gradient_norms
from common.training import decoding, settings
from common.training.loop import Result, train

SEEDS = 5
CELLS = ("RNN", "LSTM")
BACKENDS = ("numpy", "jax", "torch")
# Points of a curve in the records; sequences behind the gradient norms; symbols of a sample.
POINTS, FLOW_SEQUENCES, SAMPLE = 60, 20, 300
TEMPERATURE = 0.7


def pieces(names: Sequence[str], cells: Sequence[str], seed: int) -> list[Piece]:
    """Every piece of work, the longest first."""
    chosen = [name for name in BACKENDS if name in names]
    tasks = sorted(datasets.TASKS.values(), key=lambda task: -task.seconds)
    kept = [cell for cell in CELLS if cell in cells]
    for what, found, able in (("backend", chosen, BACKENDS), ("cell", kept, CELLS)):
        if not found:
            raise InvalidInput(mismatch(f"a {what} for --full", f"at least one of {', '.join(able)}", "none"))
    seeds = tuple(range(seed, seed + SEEDS))
    return [
        Piece(f"task {task.name}, {reading}, {cell}", outcomes, (chosen, task.name, reading, cell, seeds))
        for cell in kept[::-1]
        for task in tasks
        for reading in task.readings
    ]


def outcomes(names: Sequence[str], task: str, reading: str, cell: str, seeds: Sequence[int]) -> list[Record]:
    """One outcome a seed and backend; for the first seed, what the trained network says and where gradients go."""
    data = datasets.load(task, reading)
    runs = [settings.run_spec({"seed": seed}, data, cell) for seed in seeds]
    return [record for run in runs for record in of_seed(names, data, run, detailed=run is runs[0])]


def of_seed(names: Sequence[str], data: Dataset, run: RunSpec, detailed: bool) -> list[Record]:
    """One outcome a backend."""
    records: list[Record] = []
    results: dict[str, Result] = {}
    for name in names:
        start = perf_counter()
        try:
            results[name] = train(registry.load(name), run, data)
        except Diverged as error:
            records.append(_facts(name, data, run) | {"ended": "diverged", "problem": str(error)})
            continue
        records.append(_outcome(name, data, run, results, perf_counter() - start))
    reference = next(iter(results.values()), None)
    if detailed and reference is not None:
        next(record for record in records if "score" in record)["picture"] = data.display.picture(
            reference.prediction, data.test
        )
        records += _samples(names, data, run, reference.params)
        records += _flow(names, data, run, reference.params)
    return records


def _facts(name: str, data: Dataset, run: RunSpec) -> Record:
    model, baseline = run.network.model, data.scoring.baseline
    return {
        "kind": "outcome",
        "task": data.task,
        "reading": data.reading,
        "cell": model.cell,
        "backend": name,
        "seed": run.seed,
        "dtype": model.dtype,
        "hidden_size": model.hidden_size,
        "forget_bias": model.forget_bias,
        "parameters": sum(value.size for value in initial_network(run.network, 0).values()),
        "readout": run.network.readout,
        "loss": run.network.loss,
        "inputs": run.network.inputs,
        "epochs": run.epochs,
        "batch_size": run.batch_size,
        "patience": run.patience,
        "optimizer": asdict(run.optimizer),
        "metric": data.scoring.metric.name,
        "higher": data.scoring.metric.higher,
        "tested": data.test.x.shape[1],
        "baseline": baseline.value,
        "baseline_text": baseline.text,
    }


def _outcome(name: str, data: Dataset, run: RunSpec, results: dict[str, Result], seconds: float) -> Record:
    first, result = next(iter(results.values())), results[name]
    record = _facts(name, data, run) | {
        "updates": len(result.losses),
        "ended": result.ended,
        "seconds": round(seconds, 2),
        "final_loss": result.final_loss,
        "score": result.score,
    }
    if result is not first:
        return record | {"drift": drift(first.losses, result.losses), "reference": next(iter(results))}
    return record | {"curve": thinned(result.losses), "evaluations": [list(point) for point in result.evaluations]}


def edges(count: int) -> list[int]:
    """The bounds of about ``POINTS`` groups of updates, whose sizes grow: early updates are seen one by one."""
    round_ones = {stop for stop in (10, 100, 1000) if stop < count}
    return sorted({0, *round_ones, *np.geomspace(1, count, POINTS).round().astype(int).tolist()}) if count else [0]


def thinned(losses: Sequence[float]) -> list[list[float]]:
    """[update, mean loss of its group], update counted from 1, at the end of each group."""
    return [[stop, float(np.mean(losses[start:stop]))] for start, stop in pairwise(edges(len(losses)))]


def drift(reference: Sequence[float], losses: Sequence[float]) -> list[list[float]]:
    """[update, largest |a - b| / |b| of its group], over the updates that both made."""
    count = min(len(reference), len(losses))
    a, b = np.array(losses[:count]), np.array(reference[:count])
    gaps = abs(a - b) / np.maximum(abs(b), np.finfo(float).tiny)
    return [[stop, float(gaps[start:stop].max())] for start, stop in pairwise(edges(count))]


def _samples(names: Sequence[str], data: Dataset, run: RunSpec, params: Parameters) -> Iterator[Record]:
    """Text that a network continues, greedy and drawn, by every backend with the same weights."""
    if data.task != "text":
        return
    prompt = "The "
    numbers = np.array([data.symbols.index(character) for character in prompt])
    for name in names:
        for temperature in (0.0, TEMPERATURE):
            arguments = (registry.load(name), run.network, params, numbers, SAMPLE, temperature, 0)
            text = "".join(data.symbols[k] for k in decoding.generate(*arguments))
            facts = {"task": data.task, "cell": run.network.model.cell, "backend": name, "seed": run.seed}
            yield {"kind": "sample", **facts, "prompt": prompt, "temperature": temperature, "text": text}


def _flow(names: Sequence[str], data: Dataset, run: RunSpec, params: Parameters) -> Iterator[Record]:
    """The gradient norms through time on the adding problem, before and after training."""
    if (data.task, data.reading) != ("adding", "modern"):
        return
    test = data.test._replace(x=data.test.x[:, :FLOW_SEQUENCES], target=data.test.target[:FLOW_SEQUENCES])
    stages = {"before": initial_network(run.network, run.seed), "after": params}
    for name in names:
        for stage, weights in stages.items():
            norms = gradient_norms(registry.load(name), run.network, weights, test)
            facts = {"task": data.task, "cell": run.network.model.cell, "backend": name, "seed": run.seed}
            medians = {state: np.median(values, axis=1).tolist() for state, values in norms.items()}
            facts |= {"stage": stage, "sequences": FLOW_SEQUENCES, "norms": medians.pop("h")}
            yield {"kind": "gradient-norms", **facts, **({"norms_c": medians["c"]} if medians else {})}
