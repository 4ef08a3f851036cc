"""The tasks that networks are trained on, one file each, with the words that describe them.

Every task is seeded and time-major, downloads nothing, and has a metric and a baseline that needs no learning.
``TASKS`` holds them by name, and ``load`` returns the data of one. A new task is one file with ``Options``, ``make``
and ``TASK``, listed in ``MODULES``.

>>> from common import datasets
>>> data = datasets.load("sine", "windows")
>>> data.train.x.shape, data.train.target.shape
((25, 176, 1), (176, 1))
>>> data.scoring.metric.name, data.scoring.baseline.text
('MSE', 'the previous value')
"""

from typing import Any

from common.datasets import (
    adding,
    copy_memory,
    digits,
    places,
    reber,
    series_sum,
    sine,
    temporal_order,
    text,
    transliteration,
)
from common.datasets.task import Baseline, Dataset, Display, Metric, Outputs, Reading, Scoring, Task, Training, cast
from common.errors import InvalidInput, choice, unknown
from common.model.spec import DTYPES

__all__ = [
    "TASKS",
    "Baseline",
    "Dataset",
    "Display",
    "Metric",
    "Outputs",
    "Reading",
    "Scoring",
    "Task",
    "Training",
    "cast",
    "load",
]

MODULES = (sine, series_sum, adding, temporal_order, reber, copy_memory, digits, text, transliteration, places)
TASKS: dict[str, Task] = {module.TASK.name: module.TASK for module in MODULES}


def load(task: str, reading: str | None = None, dtype: str = "float64", /, **options: Any) -> Dataset:
    """The data of a task in one variant, the first if none is named; ``options`` are the task's own."""
    if task not in TASKS:
        raise InvalidInput(unknown("task", list(TASKS), task))
    if dtype not in DTYPES:
        raise InvalidInput(choice("dtype", DTYPES, dtype))
    return TASKS[task].load(reading, dtype, **options)
