"""The tasks: one file each, seeded, time-major, nothing downloaded. ``load`` finds them by name.

>>> from common import datasets
>>> data = datasets.load("adding", steps=20, train=8)
>>> data.train.x.shape, data.train.target.shape
((20, 8, 2), (8, 1))
"""

from typing import Any

from common.errors import InvalidInput, choice, unknown
from common.model.spec import DTYPES

from . import adding, copy_memory, digits, places, reber, series_sum, sine, temporal_order, text, transliteration
from .task import Baseline, Dataset, Metric, Task, Training, cast

__all__ = ["TASKS", "Baseline", "Dataset", "Metric", "Task", "Training", "cast", "load"]

MODULES = (sine, series_sum, adding, temporal_order, reber, copy_memory, digits, text, transliteration, places)
TASKS: dict[str, Task] = {module.TASK.name: module.TASK for module in MODULES}


def load(task: str, reading: str | None = None, dtype: str = "float64", /, **options: Any) -> Dataset:
    """The data of a task under a reading, the first if none is named; ``options`` are those of the task."""
    if task not in TASKS:
        raise InvalidInput(unknown("task", list(TASKS), task))
    if dtype not in DTYPES:
        raise InvalidInput(choice("dtype", DTYPES, dtype))
    return TASKS[task].load(reading, dtype, **options)
