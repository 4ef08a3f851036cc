"""A sine wave, cut into windows; the target of a window is the value that follows it.

With 100 points a period, 2 periods (201 points, both ends counted) and windows of 25 there are 176 windows X (176, 25).
The two readings feed the same numbers to the same layer, which takes its first axis as time. There is one wave, so it
is also what the result is judged on.

``windows``
    x = X.T, (25, 176, 1): time runs inside a window, and the 176 windows are a batch of independent sequences that each
    start from a zero state. The last time step is read out. This is what "predict from a window of 25" says.

``article``
    x = X, (176, 25, 1), as in the article that this comes from, which hands X to a layer without ``batch_first``: time
    runs from window to window, and the 25 positions in a window are a batch of 25 sequences. The last of them is read
    out, at every step. That sequence is the series itself, from its 25th point on, so the prediction rests on one value
    at a time and on a state carried over up to 176 steps; the other 24 sequences are computed and never looked at.
    It learns too, which is why the mistake is easy to miss.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.errors import InvalidInput, mismatch
from common.model.validate import require_positive_int

from .task import Baseline, Dataset, Metric, Task, Training

READINGS = {
    "windows": "time runs inside a window: T=25, B=176, last step read out",
    "article": "time runs from window to window: T=176, B=25, last sequence read out",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The wave and the window, in points."""

    points_per_period: int = 100
    periods: int = 2
    window: int = 25

    def __post_init__(self) -> None:
        for name in ("points_per_period", "periods", "window"):
            require_positive_int(name, getattr(self, name))
        if self.window >= self.count:
            raise InvalidInput(mismatch("window", f"1 to {self.count - 1} points", self.window))

    @property
    def count(self) -> int:
        return self.points_per_period * self.periods + 1


def make(reading: str, options: Options) -> Dataset:
    """The wave under one of ``READINGS``."""
    series = np.sin(2 * np.pi * np.arange(options.count) / options.points_per_period)
    windows = np.lib.stride_tricks.sliding_window_view(series[:-1], options.window)
    target = series[options.window :, None]
    by_windows = reading == "windows"
    batch = Batch(np.ascontiguousarray((windows.T if by_windows else windows)[:, :, None]), target)
    return Dataset(
        task="sine",
        reading=reading,
        train=batch,
        validation=batch,
        test=batch,
        readout="last_step" if by_windows else "last_sequence",
        readout_size=1,
        loss="mse",
        metric=Metric("MSE", higher=False),
        baseline=Baseline(float(np.mean((series[options.window - 1 : -1] - target[:, 0]) ** 2)), "the value before"),
        score=lambda prediction, batch: float(np.mean((prediction - batch.target) ** 2)),
        picture=partial(picture, series, options.window),
        training=Training(hidden_size=32, epochs=100),
    )


def picture(series: np.ndarray, window: int, prediction: np.ndarray, _: Batch) -> dict[str, Any]:
    """The series, and the place in it of each prediction."""
    places = list(range(window, len(series)))
    return {"plot": "series", "series": series.tolist(), "position": places, "prediction": prediction.ravel().tolist()}


TASK = Task(
    "sine", "next value of a sine wave from a window of 25", "home-made MyRNN articles", READINGS, Options, make, 2, 100
)
