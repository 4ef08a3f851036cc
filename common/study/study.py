"""The study: the ladder of checks, the sine wave trained everywhere, the one-bias cell, the timings; as records.

What can run side by side does so in processes, by pieces that are each named by plain values. The timings come last and
alone.
"""

import platform
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby

from common import datasets, parallel
from common.backend import registry
from common.backend.contract import Backend
from common.datasets import Dataset
from common.equivalence import comparison, ladder
from common.equivalence.variants import PROBLEMS, H, I, Variant, drawn, option_words, shrink, variants
from common.errors import BackendBroken, InvalidInput
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from common.parallel import Piece
from common.records import Record
from common.study import bench, tasks
from common.training.loop import Result, train

OPTIMIZERS = {"sgd": OptimizerSpec(name="sgd", lr=0.05), "adam": OptimizerSpec(name="adam", lr=0.01)}
EPOCHS, HIDDEN_SIZE = 100, 32
# (reading, optimiser, dtype) -> the cells trained so.
SINE_RUNS = {
    ("windows", "sgd", "float64"): ("RNN", "RNNCell", "LSTM"),
    ("windows", "adam", "float64"): ("RNN", "RNNCell", "LSTM"),
    ("article", "sgd", "float64"): ("RNN", "LSTM"),
    ("windows", "sgd", "float32"): ("RNN", "LSTM"),
    ("windows", "adam", "float32"): ("RNN", "LSTM"),
}
# Variants drawn at random: for the study, in each dtype; and in one piece of work.
DRAWN, DRAWN_PIECE = 48, 2 * PROBLEMS
# The largest prediction that a record holds.
SHOWN_VALUES = 1000
BENCH_CELLS, BENCH_SIZES, ROUNDS = ("RNN", "LSTM"), ("sine", "medium"), 9

OnDone = Callable[..., None]
# Called with the name of a stage and its number of parts; gives a call to make after each part, perhaps with a note.
Progress = Callable[[str, int], OnDone]


def environment(names: Sequence[str]) -> Iterator[Record]:
    """One record for the machine and one for each backend."""
    machine = {"system": platform.platform(), "python": platform.python_version(), "processor": processor()}
    yield {"kind": "environment", "of": "machine", **machine, "processors": parallel.cpu_count()}
    for name in names:
        yield {"kind": "environment", "of": name, **registry.load(name).environment()}


def processor() -> str:
    """The name of the processor, as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def load_all(names: Sequence[str]) -> dict[str, Backend]:
    return {name: registry.load(name) for name in names}


def check_groups(chosen: Sequence[Variant]) -> list[list[Variant]]:
    """Variants that differ in the initial state alone stay together, and share their compilations."""
    return [list(group) for _, group in groupby(chosen, key=lambda variant: variant.spec)]


def check_records(names: Sequence[str], chosen: Sequence[Variant]) -> list[Record]:
    """The ladder of checks on some variants."""
    return [row.record() for row in ladder.check(load_all(names), chosen)]


def check(names: Sequence[str], chosen: Sequence[Variant], jobs: int, progress: Progress) -> Iterator[Record]:
    """The ladder of checks over processes."""
    ladder.check_all_supported(load_all(names), chosen)  # before anything is computed
    groups = check_groups(chosen)
    done = progress("checks", len(groups))
    for records in parallel.run([_check_piece(names, group) for group in groups], jobs):
        yield from records
        done()


def _check_piece(names: Sequence[str], group: Sequence[Variant]) -> Piece:
    return Piece(f"{group[0].label}, {group[0].spec.dtype}", check_records, (names, group))


def drawn_records(names: Sequence[str], chosen: Sequence[Variant]) -> list[Record]:
    """The first three rungs on variants drawn at random; a record that failed has the smallest variant that fails so.

    The variant is shrunk once, for the first of its rows that failed.
    """
    records = []
    for variant in chosen:
        try:
            rows = ladder.check_drawn(load_all(names), variant)
        except BackendBroken as error:
            between = " ".join(f"--backend {name}" for name in names)
            raise BackendBroken(f"{error}; rosetta check {variant.arguments} {between}") from error
        failed = next((row for row in rows if row.verdict == comparison.FAILED), None)
        smallest = {} if failed is None else {"smallest": shrink(variant, partial(fails, failed)).arguments}
        records += [row.record() | (smallest if row.verdict == comparison.FAILED else {}) for row in rows]
    return records


def pieces(chosen: Sequence[Variant]) -> list[Sequence[Variant]]:
    """Pieces of work that keep the problems of a model together."""
    return [chosen[start : start + DRAWN_PIECE] for start in range(0, len(chosen), DRAWN_PIECE)]


def fails(row: comparison.Row, variant: Variant) -> bool:
    """Whether the comparison of ``row`` fails on another variant too."""
    pair = load_all([name for name in (row.a, row.b) if name not in comparison.ORACLES])
    try:
        rows = ladder.check_drawn(pair, variant)
    except (BackendBroken, InvalidInput):
        return False
    return any(found.verdict == comparison.FAILED and found.check == row.check for found in rows)


def check_drawn(names: Sequence[str], chosen: Sequence[Variant], jobs: int, progress: Progress) -> Iterator[Record]:
    """Variants drawn at random, over processes, which are renewed as JAX keeps all that it compiled."""
    groups = pieces(chosen)
    work = [_drawn_piece(names, group) for group in groups]
    done = progress("configurations", len(chosen))
    for group, records in zip(groups, parallel.run(work, jobs, pieces_a_process=20), strict=True):
        yield from records
        for _ in group:
            done()


def _drawn_piece(names: Sequence[str], group: Sequence[Variant]) -> Piece:
    more = f" and {len(group) - 1} more" * (len(group) > 1)
    return Piece(f"{group[0].arguments}{more}", drawn_records, (names, group))


def train_everywhere(names: Sequence[str], task: str, reading: str, run: RunSpec) -> list[Record]:
    """The sine wave's runs: one training record a backend, and the check records that compare them."""
    data = datasets.load(task, reading, run.network.model.dtype)
    results = {name: train(registry.load(name), run, data) for name in names}
    records = [training_record(name, data, run, result) for name, result in results.items()]
    return records + [row.record() for row in compare_runs(data, run, results)]


def _sine_piece(names: Sequence[str], task: str, reading: str, run: RunSpec) -> Piece:
    model = run.network.model
    name = f"training on {task}, {reading}, {run.optimizer.name}, {model.cell}, {model.dtype}"
    return Piece(name, train_everywhere, (names, task, reading, run))


def compare_runs(data: Dataset, run: RunSpec, results: Mapping[str, Result]) -> Iterator[comparison.Row]:
    """The losses of every pair of backends over the updates that the task holds them to; if the runs are no longer, the
    last loss and the prediction too.
    """
    variant = Variant(spec=run.network.model, given_state=False, seed=run.seed)
    what, updates = f"{data.reading} {run.optimizer.name}", {name: len(r.losses) for name, r in results.items()}
    if len({*updates.values()}) > 1:  # an early stop parted them: that is a difference too
        counts = {name: {f"{what} updates": float(count)} for name, count in updates.items()}
        yield from comparison.compare_all(data.task, variant, counts)
    held = datasets.TASKS[data.task].held
    first, short = min(held, *updates.values()), max(updates.values()) <= held
    ends = {name: [result.final_loss] if short else [] for name, result in results.items()}
    curves = {name: {f"{what} curve": [*result.losses[:first], *ends[name]]} for name, result in results.items()}
    yield from comparison.compare_all(data.task, variant, curves, curve=True)
    if short:
        predictions = {name: {f"{what} prediction": result.prediction} for name, result in results.items()}
        yield from comparison.compare_all(data.task, variant, predictions)


def training_record(backend: str, data: Dataset, run: RunSpec, result: Result) -> Record:
    model = run.network.model
    return {
        "kind": "training",
        "task": data.task,
        "reading": data.reading,
        "cell": model.cell,
        "backend": backend,
        "dtype": model.dtype,
        "optimizer": run.optimizer.name,
        "lr": run.optimizer.lr,
        "hidden_size": model.hidden_size,
        "model": shlex.join(option_words(model)),
        "seed": run.seed,
        "epochs": run.epochs,
        "losses": result.losses,
        "evaluations": [list(evaluation) for evaluation in result.evaluations],
        "final_loss": result.final_loss,
        "metric": data.metric.name,
        "score": result.score,
        "baseline": data.baseline.value,
        "ended": result.ended,
        "prediction": result.prediction.ravel().tolist() if result.prediction.size <= SHOWN_VALUES else [],
    }


def sine_runs(cells: Sequence[str], dtypes: Sequence[str], seed: int) -> list[tuple[str, str, RunSpec]]:
    """(task, reading, run) of the study."""
    runs = []
    for (reading, rule, dtype), trained in SINE_RUNS.items():
        for cell in [cell for cell in trained if cell in cells and dtype in dtypes]:
            network = datasets.load("sine", reading, dtype).network(cell, HIDDEN_SIZE)
            run = RunSpec(network=network, optimizer=OPTIMIZERS[rule], epochs=EPOCHS, seed=seed)
            runs.append(("sine", reading, run))
    return runs


def one_bias(seed: int) -> list[Record]:
    """The one-bias cell against the two-bias one: the function agrees, the training does not."""
    pair = load_all(["numpy", "one-bias"])
    spec = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
    rows = ladder.check_model(pair, Variant(spec=spec, seed=seed))
    records = [row.record() for row in rows if {row.a, row.b} == {*pair}]
    data = datasets.load("sine")
    for rule in OPTIMIZERS.values():
        network = data.network("RNN", HIDDEN_SIZE)
        run = RunSpec(network=network, optimizer=rule, epochs=EPOCHS, seed=seed)
        two, one = (train(backend, run, data) for backend in pair.values())
        curves = {"two_biases": [*two.losses, two.final_loss], "one_bias": [*one.losses, one.final_loss]}
        records.append({"kind": "one-bias", "optimizer": rule.name, "lr": rule.lr, "seed": seed, **curves})
    return records


def series() -> Iterator[Record]:
    """What the predictions are drawn over: the wave and the place of each target, one record a reading."""
    for reading in datasets.TASKS["sine"].readings:
        data = datasets.load("sine", reading)
        steps, batch, _ = data.train.x.shape
        seen = data.picture(data.test.target, data.test)
        yield {
            "kind": "task",
            "task": "sine",
            "reading": reading,
            "summary": datasets.TASKS["sine"].readings[reading],
            "steps": steps,
            "batch": batch,
            "series": seen["series"],
            "position": seen["position"],
        }


def study(
    names: Sequence[str],
    cells: Sequence[str],
    dtypes: Sequence[str],
    seed: int,
    jobs: int,
    rounds: int,
    progress: Progress,
    full: bool = False,
) -> Iterator[Record]:
    """All records of the study, in an order that depends on nothing but the arguments; ``full`` trains every task."""
    fixed = variants(cells, dtypes, seed)
    ladder.check_all_supported(load_all(names), fixed)  # before anything is computed
    yield from environment(names)
    yield from series()
    groups = check_groups(fixed)
    random = drawn(DRAWN, cells, dtypes, seed)
    runs = sine_runs(cells, dtypes, seed)
    work = [_sine_piece(names, *run) for run in runs]  # the longest pieces first
    work += [_check_piece(names, group) for group in reversed(groups)]
    work += [_drawn_piece(names, group) for group in pieces(random)]
    if "numpy" in names and "RNN" in cells:
        work.append(Piece("the one-bias cell", one_bias, (seed,)))
    done = progress("checks and training", len(work))
    for records in parallel.run(work, jobs):
        yield from records
        done()
    if full:
        work = tasks.pieces(names, cells, seed)
        done = progress("tasks", len(work))
        for records in parallel.run(work, jobs):
            yield from records
            done()
    chosen = bench.cases([cell for cell in cells if cell in BENCH_CELLS], BENCH_SIZES, ["float32"], seed)
    if chosen:
        done = progress("timings", len(chosen))
        yield from bench.bench(names, chosen, rounds, lambda _: done())
