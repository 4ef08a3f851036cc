"""Outputs, states and gradients of the modules are those of torch.nn."""

import io

import jax
import numpy as np
import pytest
import torch

from common.errors import InvalidInput
from tests.backend.modules.calls import (
    LENGTHS,
    RESULTS,
    STACKED,
    TOLERANCE,
    VARIANTS,
    B,
    H,
    I,
    T,
    assert_close,
    build,
    call,
    every_package,
    loaded,
    named,
    native,
    problem,
    torch_results,
    weights,
)

pytestmark = pytest.mark.usefixtures("compile_quickly")
CASES = [(dtype, package, *v) for dtype in TOLERANCE for package in ("numpy", "jax", "torch") for v in VARIANTS]
CASES = CASES[: 4 * len(VARIANTS)] + CASES[4 * len(VARIANTS) : 5 * len(VARIANTS) : 2] + CASES[5 * len(VARIANTS) :]


@pytest.mark.parametrize(("dtype", "package", "cell", "options", "words"), CASES, ids=str)
def test_outputs_states_and_gradients_are_those_of_torch_nn(package, cell, options, words, dtype):
    p, keywords = problem(cell, dtype, words, **options), {"lengths": LENGTHS} if "lengths" in words else {}
    reference = torch_results(loaded("torch.nn", cell, dtype, **options), *p, **keywords)
    vanish = {"weight_hh"} if "no hx" in words and "Cell" in cell else set()  # a cell's one step from a zero state
    assert {name for name, value in reference.items() if np.abs(value).max() < 1e-3} == vanish
    with jax.enable_x64(dtype == "float64"):
        assert_close(
            RESULTS[package](loaded(package, cell, dtype, **options), *p, **keywords), reference, TOLERANCE[dtype]
        )


@pytest.mark.parametrize(("cell", "options"), [("GRU", STACKED["GRU"]), ("GRUCell", {})], ids=str)
def test_the_gru_with_reset_before_agrees_in_all_packages(cell, options):
    """torch.nn has no such form; the complex step judges NumPy's (``test_ladder``)."""
    lengths = {} if cell == "GRUCell" else {"lengths": LENGTHS}
    inputs_and_cotangents = problem(cell, **options)
    of_form = {}
    for package in ("numpy", "jax", "torch"):
        for reset_after in (True, False):
            module = build(package, cell, reset_after=reset_after, **options)
            params = weights(cell, **options)
            module.load_state_dict(native("torch", params) if package == "torch" else params)
            of_form[package, reset_after] = RESULTS[package](module, *inputs_and_cotangents, **lengths)
        assert_close(of_form[package, False], of_form["numpy", False], 1e-5)
        after, before = (of_form[package, form]["output 0"] for form in (True, False))
        assert np.abs(after - before).max() > 1e-3


@every_package
def test_a_trained_torch_module_predicts_the_same_in_every_package(package):
    options = STACKED["LSTM"]
    theirs, x = torch.nn.LSTM(I, H, **options), native("torch", problem("LSTM", **options)[0][0])
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        (theirs(x)[0] - 1).square().mean().backward()
        optimizer.step()
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    file.seek(0)
    module = build(package, "LSTM", **options)
    module.load_state_dict(torch.load(file))
    reference = named([leaf.detach() for leaf in call(theirs, x)])
    got = call(module, native(package, x.numpy()))
    assert_close(named([leaf.detach() if package == "torch" else leaf for leaf in got]), reference, 1e-5)


def test_a_swapped_batch_axis_is_guessed():
    x = np.zeros((B, T, I), "float32")
    for package in ("numpy", "jax", "torch"):
        hx = native(package, np.zeros((1, B, H), "float32"))
        with pytest.raises(InvalidInput, match=r"is x \(B, T, I\)\? then batch_first=True$"):
            build(package, "RNN")(native(package, x), hx)
