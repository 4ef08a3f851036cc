"""The tasks of the full study: every variant of every task, over several seeds, with the layers in every backend.

The RNN, the LSTM and the GRU are trained on every task; the LSTM of 1997 on the three that its paper reports.

For each seed, every backend trains from the same weights and on the same batches. The first backend is the reference:
it gives the curves and the pictures, and the drift of the others is measured from it.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from time import perf_counter

import numpy as np

from common import datasets
from common.backend import registry
from common.datasets.task import Dataset
from common.equivalence.comparison import relative_gaps
from common.errors import Diverged, InvalidInput, mismatch
from common.model.cells import LAYERS
from common.model.initial import initial_run
from common.model.layout import Parameters
from common.model.run import RunSpec
from common.parallel import Piece
from common.record_parts import Point
from common.record_types import GradientNorms, Outcome, Record, Sample
from common.study.gradient_norms import gradient_norms
from common.study.runs import run_data
from common.training import decoding, settings
from common.training.loop import Result, train

SEEDS = 5
CELLS, BACKENDS = LAYERS, ("numpy", "jax", "torch")
# The experiments 1, 4 and 6a of Hochreiter & Schmidhuber 1997: (task, variant).
OF_1997 = (("reber", "embedded"), ("adding", "1997"), ("temporal-order", "6a"))
# Points of a curve in the records; sequences for the gradient norms; symbols of a sample.
POINTS, FLOW_SEQUENCES, SAMPLE = 60, 20, 300
PROMPT, TEMPERATURE = "The ", 0.7


def pieces(names: Sequence[str], cells: Sequence[str], seed: int) -> list[Piece]:
    """Every piece of work, the longest first."""
    backends = [name for name in BACKENDS if name in names]
    layers = [cell for cell in CELLS if cell in cells]
    for what, chosen, possible in (("backend", backends, BACKENDS), ("cell", layers, CELLS)):
        if not chosen:
            raise InvalidInput(mismatch(f"a {what} for --full", f"at least one of {', '.join(possible)}", "none"))
    tasks = sorted(datasets.TASKS.values(), key=lambda task: -task.seconds)
    seeds = tuple(range(seed, seed + SEEDS))
    return [
        Piece(f"task {task.name}, {reading}, {cell}", outcomes, (backends, task.name, reading, cell, seeds))
        for cell in layers[::-1]
        for task in tasks
        for reading in task.readings
        if is_trained(cell, task.name, reading)
    ]


def is_trained(cell: str, task: str, reading: str) -> bool:
    """Whether the full study trains a cell on a variant of a task."""
    return cell != "LSTM1997" or (task, reading) in OF_1997


def outcomes(names: Sequence[str], task: str, reading: str, cell: str, seeds: Sequence[int]) -> list[Record]:
    """One outcome for each seed and backend; for the first seed also samples of text and the norms of gradients."""
    data = datasets.load(task, reading)
    runs = [settings.run_spec({"seed": seed}, data, cell) for seed in seeds]
    return [record for run in runs for record in of_seed(names, data, run, detailed=run is runs[0])]


def of_seed(names: Sequence[str], data: Dataset, run: RunSpec, detailed: bool) -> list[Record]:
    """One outcome for each backend, and if ``detailed`` what the trained network of the reference shows."""
    rows: list[Outcome] = []
    results: dict[str, Result] = {}
    for name in names:
        start = perf_counter()
        row = _facts(name, data, run)
        rows.append(row)
        try:
            results[name] = train(registry.load(name), run, data)
        except Diverged as error:
            row["problem"] = str(error)
            continue
        _add_result(row, results, perf_counter() - start)
    reference = next(iter(results.values()), None)
    if not detailed or reference is None:
        return [*rows]
    first = next(row for row in rows if "score" in row)
    first["picture"] = data.display.picture(reference.prediction, data.test)
    return [*rows, *_samples(names, data, run, reference.params), *_flow(names, data, run, reference.params)]


def _facts(name: str, data: Dataset, run: RunSpec) -> Outcome:
    """The record of a run that diverged, without the problem."""
    model, (metric, baseline, _) = run.network.model, data.scoring
    return Outcome(
        kind="outcome",
        **run_data(data.task, data.reading, run, {}),
        cell=model.cell,
        dtype=model.dtype,
        backend=name,
        parameters=sum(value.size for value in initial_run(run).values()),
        readout=run.network.readout,
        loss=run.network.loss,
        metric=metric.name,
        metric_text=metric.text,
        higher=metric.higher,
        share=metric.share,
        tested=data.test.x.shape[1],
        baseline=baseline.value,
        baseline_text=baseline.text,
        ended="diverged",
    )


def _add_result(row: Outcome, results: dict[str, Result], seconds: float) -> None:
    """Add the result of a run to its record: a curve for the reference, the drift from it for the others."""
    reference, first = next(iter(results.items()))
    result = results[row["backend"]]
    row["updates"] = len(result.losses)
    row["ended"] = result.ended
    row["seconds"] = round(seconds, 2)
    row["final_loss"] = result.final_loss
    row["score"] = result.score
    if row["backend"] == reference:
        row["curve"] = thinned(result.losses)
        row["evaluations"] = [list(point) for point in result.evaluations]
    else:
        row["drift"] = drift(first.losses, result.losses)
        row["reference"] = reference


def edges(count: int) -> list[int]:
    """The bounds of about ``POINTS`` groups of updates of growing size: the first updates are groups of their own."""
    round_numbers = {stop for stop in (10, 100, 1000) if stop < count}
    return sorted({0, *round_numbers, *np.geomspace(1, count, POINTS).round().astype(int).tolist()}) if count else [0]


def thinned(losses: Sequence[float]) -> list[Point]:
    """[update, mean loss of its group] at the end of each group, with updates counted from 1."""
    return [[stop, float(np.mean(losses[start:stop]))] for start, stop in pairwise(edges(len(losses)))]


def drift(reference: Sequence[float], losses: Sequence[float]) -> list[Point]:
    """[update, largest |a - b| / |b| of its group], over the updates that both runs made."""
    count = min(len(reference), len(losses))
    gaps = relative_gaps(np.array(losses[:count]), np.array(reference[:count]))
    return [[stop, float(gaps[start:stop].max())] for start, stop in pairwise(edges(count))]


def _samples(names: Sequence[str], data: Dataset, run: RunSpec, params: Parameters) -> Iterator[Sample]:
    """A text continued by the network, greedily and by drawing, in every backend with the same weights."""
    if data.task != "text":
        return
    prompt = np.array([data.symbols.index(character) for character in PROMPT])
    for name in names:
        for temperature in (0.0, TEMPERATURE):
            arguments = (registry.load(name), run.network, params, prompt, SAMPLE, temperature, 0)
            yield Sample(
                kind="sample",
                task=data.task,
                cell=run.network.model.cell,
                backend=name,
                seed=run.seed,
                prompt=PROMPT,
                temperature=temperature,
                text="".join(data.symbols[number] for number in decoding.generate(*arguments)),
            )


def _flow(names: Sequence[str], data: Dataset, run: RunSpec, params: Parameters) -> Iterator[GradientNorms]:
    """The norms of gradients through time on the adding problem, before and after training."""
    if (data.task, data.reading) != ("adding", "modern"):
        return
    test = data.test._replace(x=data.test.x[:, :FLOW_SEQUENCES], target=data.test.target[:FLOW_SEQUENCES])
    stages = {"before": initial_run(run), "after": params}
    for name in names:
        for stage, weights in stages.items():
            norms = gradient_norms(registry.load(name), run.network, weights, test)
            yield GradientNorms(
                kind="gradient-norms",
                task=data.task,
                cell=run.network.model.cell,
                backend=name,
                seed=run.seed,
                stage=stage,
                sequences=FLOW_SEQUENCES,
                norms={state: np.median(values, axis=1).tolist() for state, values in norms.items()},
            )
