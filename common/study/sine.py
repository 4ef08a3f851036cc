"""The experiments on the sine wave, and the cell with one bias, as records."""

from collections.abc import Iterator, Sequence

from common import datasets
from common.backend.registry import load_all
from common.equivalence import ladder
from common.equivalence.variants import H, I, Variant
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from common.record_types import OneBias, Record, Task
from common.study.runs import run_data
from common.training.loop import train

OPTIMIZERS = {"sgd": OptimizerSpec(name="sgd", lr=0.05), "adam": OptimizerSpec(name="adam", lr=0.01)}
EPOCHS, HIDDEN_SIZE = 100, 32
# (variant of the data, optimiser, dtype) -> the cells that are trained.
SINE_RUNS = {
    ("windows", "sgd", "float64"): ("RNN", "RNNCell", "LSTM", "GRU"),
    ("windows", "adam", "float64"): ("RNN", "RNNCell", "LSTM", "GRU", "LSTM1997"),
    ("article", "sgd", "float64"): ("RNN", "LSTM"),
    ("windows", "sgd", "float32"): ("RNN", "LSTM"),
    ("windows", "adam", "float32"): ("RNN", "LSTM", "GRU"),
}


def sine_runs(cells: Sequence[str], dtypes: Sequence[str], seed: int) -> list[tuple[str, str, RunSpec]]:
    """(task, variant, run) of the study."""
    runs = []
    for (reading, rule, dtype), trained in SINE_RUNS.items():
        for cell in [cell for cell in trained if cell in cells and dtype in dtypes]:
            network = datasets.load("sine", reading, dtype).network(cell, HIDDEN_SIZE)
            run = RunSpec(network=network, optimizer=OPTIMIZERS[rule], epochs=EPOCHS, seed=seed)
            runs.append(("sine", reading, run))
    return runs


def one_bias(seed: int) -> list[Record]:
    """The cell with one bias against the one with two: the same function, but different training."""
    pair = load_all(["numpy", "one-bias"])
    spec = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
    rows = ladder.check_model(pair, Variant(spec=spec, seed=seed))
    records: list[Record] = [row.record() for row in rows if {row.a, row.b} == {*pair}]
    data = datasets.load("sine")
    for rule in OPTIMIZERS.values():
        network = data.network("RNN", HIDDEN_SIZE)
        run = RunSpec(network=network, optimizer=rule, epochs=EPOCHS, seed=seed)
        two, one = (train(backend, run, data) for backend in pair.values())
        records.append(
            OneBias(
                kind="one-bias",
                **run_data("sine", data.reading, run, {}),
                two_biases=[*two.losses, two.final_loss],
                one_bias=[*one.losses, one.final_loss],
            )
        )
    return records


def series() -> Iterator[Task]:
    """What the predictions are drawn over: the wave and the place of each target, one record for each variant."""
    for reading in datasets.TASKS["sine"].readings:
        data = datasets.load("sine", reading)
        steps, batch, _ = data.train.x.shape
        seen = data.display.picture(data.test.target, data.test)
        yield Task(
            kind="task",
            task="sine",
            reading=reading,
            summary=datasets.TASKS["sine"].readings[reading].summary,
            steps=steps,
            batch=batch,
            series=seen["series"],
            position=seen["position"],
        )
