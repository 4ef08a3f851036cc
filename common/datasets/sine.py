"""A sine wave, cut into windows; the target of a window is the value that follows it.

With 100 points a period, 2 periods (201 points, both ends counted) and windows of 25 there are 176 windows X (176, 25).
The two readings feed the same numbers to the same layer, which takes its first axis as time.

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

from typing import NamedTuple

import numpy as np

from common.errors import InvalidInput, choice, mismatch
from common.spec import check_positive_int

SUMMARY = "next value of a sine wave from a window of 25"
READINGS = {
    "windows": "time runs inside a window: T=25, B=176, last step read out",
    "article": "time runs from window to window: T=176, B=25, last sequence read out",
}


class Sine(NamedTuple):
    """x (T, B, 1), target (176, 1), the readout, the series (201,), and each target's place in it (176,)."""

    x: np.ndarray
    target: np.ndarray
    readout: str
    series: np.ndarray
    position: np.ndarray


def make(reading: str = "windows", points_per_period: int = 100, periods: int = 2, window: int = 25) -> Sine:
    """The wave in float64, under one of ``READINGS``."""
    if reading not in READINGS:
        raise InvalidInput(choice("reading", list(READINGS), reading))
    for name, value in (("points_per_period", points_per_period), ("periods", periods), ("window", window)):
        check_positive_int(name, value)
    count = points_per_period * periods + 1
    if window >= count:
        raise InvalidInput(mismatch("window", f"1 to {count - 1} points", window))
    series = np.sin(2 * np.pi * np.arange(count) / points_per_period)
    windows = np.lib.stride_tricks.sliding_window_view(series[:-1], window)
    target = series[window:, None]
    position = np.arange(window, count)
    if reading == "windows":
        return Sine(np.ascontiguousarray(windows.T[:, :, None]), target, "last_step", series, position)
    return Sine(np.ascontiguousarray(windows[:, :, None]), target, "last_sequence", series, position)
