"""A sine wave, cut into windows; the target of a window is the value that follows it.

With 100 points a period, 2 periods (201 points, both ends counted) and windows of 25, there are 176 windows X (176,
25). ``READINGS`` explains the two variants, which feed the same numbers to the same layer along different axes. There
is only one wave, so the result is judged on the wave itself.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.task import (
    MSE,
    Baseline,
    Dataset,
    Display,
    Outputs,
    Reading,
    Scoring,
    Task,
    Training,
    squared_error,
)
from common.errors import InvalidInput, mismatch
from common.model.validate import require_positive_int

READINGS = {
    "windows": Reading(
        summary="time runs inside a window: T=25, B=176, last step read out",
        asks="see 25 points of a wave and predict the next one",
        remembers="the last few points",
        span=2,
        readout="Each window is a sequence of its own and starts from a zero state, as “predict from a window” "
        "suggests. The output at the last step is read, because the answer is one number that depends on everything "
        "before it.",
    ),
    "article": Reading(
        summary="time runs from window to window: T=176, B=25, last sequence read out",
        asks="see the points of a wave one at a time and predict the next one each time",
        remembers="the last few points",
        span=2,
        readout="The array of windows is fed without its transpose, as in the article that this comes from. A layer "
        "takes its first axis as time, so each step is a whole window, and the 25 positions in a window are a batch of "
        "sequences. Only the last of these is read, at every step. It is the series itself, so a prediction rests on "
        "one value at a time and on a state that is carried over up to 176 steps; the other 24 sequences are computed "
        "and never used. The network learns anyway, which is why the mistake is easy to miss.",
    ),
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
    """The wave in one of ``READINGS``."""
    series = np.sin(2 * np.pi * np.arange(options.count) / options.points_per_period)
    windows = np.lib.stride_tricks.sliding_window_view(series[:-1], options.window)
    target = series[options.window :, None]
    by_windows = reading == "windows"
    batch = Batch(np.ascontiguousarray((windows.T if by_windows else windows)[:, :, None]), target)
    repeated = float(np.mean((series[options.window - 1 : -1] - target[:, 0]) ** 2))
    return Dataset(
        train=batch,
        validation=batch,
        test=batch,
        outputs=Outputs(readout="last_step" if by_windows else "last_sequence"),
        scoring=Scoring(MSE, Baseline(repeated, "the previous value"), squared_error),
        display=Display(partial(picture, series, options.window)),
        training=Training(hidden_size=32, epochs=100),
    )


def picture(series: np.ndarray, window: int, prediction: np.ndarray, _: Batch) -> dict[str, Any]:
    """The series, and the position in it of each prediction."""
    positions = list(range(window, len(series)))
    return {
        "plot": "series",
        "series": series.tolist(),
        "position": positions,
        "prediction": prediction.ravel().tolist(),
    }


TASK = Task(
    name="sine",
    title="Sine wave",
    summary="predict the next value of a sine wave from a window of 25",
    source="articles about a home-made class MyRNN",
    readings=READINGS,
    options=Options,
    make=make,
    judged_on="the wave itself",
    seconds=2,
    held=100,
)
