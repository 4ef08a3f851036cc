"""The sine wave is what it says; names and windows that are none are refused."""

import math
from typing import Any

import numpy as np
import pytest

from common import datasets
from common.errors import InvalidInput
from common.model.network import NetworkSpec
from common.model.spec import DTYPES, ModelSpec
from tests.datasets.comparing import assert_close


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reading", [None, "windows", "article"])
def test_every_window_is_followed_by_its_target(reading: str | None, dtype: str) -> None:
    """Against a series of its own, one value at a time."""
    series = [math.sin(math.pi * k / 50) for k in range(201)]
    data = datasets.load("sine", reading, dtype)
    batch = data.train
    x, target = batch.x, batch.target
    assert set(batch[2:]) == {None}
    assert_close((data.validation[:2], data.test[:2]), (batch[:2],) * 2)
    windows = np.array([series[k : k + 25] for k in range(176)])
    article = reading == "article"
    assert_close(x[:, :, 0] if article else x[:, :, 0].T, windows, 1e-12 if dtype == "float64" else 1e-7)
    assert_close(target, np.array(series[25:])[:, None], 1e-12 if dtype == "float64" else 1e-7)
    assert (x.dtype, target.dtype) == (dtype, dtype)
    assert (x.shape, target.shape) == ((176, 25, 1) if article else (25, 176, 1), (176, 1))
    # What the readout sees is the value just before the target: in the variant of the article, the series itself.
    assert_close(x[:, -1, 0] if article else x[-1, :, 0], np.array(series[24:200]), 1e-7)
    picture = data.display.picture(target, batch)
    assert_close(np.array(picture["series"]), np.array(series), 1e-12)
    assert picture["position"] == list(range(25, 201))
    assert_close(np.array(picture["prediction"]), target[:, 0])
    assert (data.task, data.reading) == ("sine", reading or "windows")
    model = ModelSpec(cell="LSTM", input_size=1, hidden_size=5, bias=False, dtype=dtype)
    network = NetworkSpec(model=model, readout_size=1, readout="last_sequence" if article else "last_step")
    assert data.network("LSTM", 5, bias=False) == network


WRONG_DATA: list[tuple[tuple[str | None, ...], dict[str, int], str]] = [
    (("cosine",), {}, f"task: expected one of {', '.join(datasets.TASKS)}, got 'cosine'; did you mean sine?"),
    (("sine", "W"), {}, "reading of sine: expected one of windows, article, got 'W'; did you mean windows?"),
    (
        ("sine", "Windows"),
        {},
        "reading of sine: expected one of windows, article, got 'Windows'; did you mean windows?",
    ),
    (("sine", None, "float16"), {}, "dtype: expected one of float64, float32, got 'float16'"),
    (("sine", "windows"), {"window": 0}, "window: expected at least 1, got 0"),
    (("sine", "article"), {"window": 201}, "window: expected 1 to 200 points, got 201"),
    (("sine", "windows"), {"points_per_period": 10, "window": -1}, "window: expected at least 1, got -1"),
    (
        ("sine",),
        {"period": 3},
        "option of sine: expected one of points_per_period, periods, window, got 'period'; did you mean periods?",
    ),
]


@pytest.mark.parametrize(("arguments", "options", "message"), WRONG_DATA)
def test_wrong_names_and_windows_are_refused(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        datasets.load(*arguments, **options)
    assert str(caught.value) == message
