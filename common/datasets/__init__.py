"""The data sets: one file a task, seeded, time-major, generated. ``load`` finds them by name."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from common.contract import Batch
from common.errors import InvalidInput, choice
from common.spec import DTYPES, ModelSpec, NetworkSpec

from . import sine


class Task(NamedTuple):
    """One line on what the task is, the names of its readings, and the function that makes its data."""

    summary: str
    readings: dict[str, str]
    make: Callable[..., "sine.Sine"]


TASKS = {"sine": Task(sine.SUMMARY, sine.READINGS, sine.make)}


class Dataset(NamedTuple):
    """A task under one reading, in one dtype: the batch, how it is read out, and the series for the picture.

    ``position`` (as many as there are targets) says where in ``series`` each target stands.
    """

    task: str
    reading: str
    batch: Batch
    readout: str
    series: np.ndarray
    position: np.ndarray

    def network(self, cell: str, hidden_size: int, **options: object) -> NetworkSpec:
        """The network of this cell that fits the data."""
        sizes = {
            "input_size": self.batch.x.shape[2],
            "hidden_size": hidden_size,
            "dtype": str(self.batch.x.dtype),
        }
        model = ModelSpec(cell=cell, **sizes, **options)  # pyright: ignore
        return NetworkSpec(model=model, readout_size=self.batch.target.shape[1], readout=self.readout)


def load(task: str, reading: str | None = None, dtype: str = "float64") -> Dataset:
    """The data of a task; without ``reading``, under its first one."""
    if task not in TASKS:
        raise InvalidInput(choice("task", list(TASKS), task))
    if dtype not in DTYPES:
        raise InvalidInput(choice("dtype", DTYPES, dtype))
    readings = TASKS[task].readings
    reading = next(iter(readings)) if reading is None else reading
    if reading not in readings:
        raise InvalidInput(choice(f"reading of {task}", list(readings), reading))
    data = TASKS[task].make(reading)
    batch = Batch(data.x.astype(dtype), data.target.astype(dtype))
    return Dataset(task, reading, batch, data.readout, data.series, data.position)
