"""Bugs planted in what a mask of steps and dropout by one mask for all steps need: each is caught by the checks named.

The mask has padding on the left, holes, padding on the right, and a sequence without a valid step.
"""

from collections.abc import Callable
from typing import Any

import pytest

from common.backend.contract import Backend
from common.equivalence.variants import Variant
from common.model.spec import ModelSpec
from tests.equivalence.planted.bugs import BACK, RUNGS, Bug, found_by

SIZES: dict[str, Any] = {"input_size": 3, "hidden_size": 5}
DROPPED: dict[str, Any] = {"input_dropout": 0.4, "recurrent_dropout": 0.4}
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
MASK = ("0111111", "1100101", "1111100", "0000000", "1011011", "0010010")
HOLES: dict[str, Any] = {"steps": 7, "batch": 6, "mask": MASK}
ON = {
    "holes": Variant(spec=ModelSpec(cell="LSTM", proj_size=4, dropout=0.4, **DEEP, **SIZES), **HOLES),
    "RNN": Variant(spec=ModelSpec(cell="RNN", **DEEP, **DROPPED, **SIZES), steps=4, batch=3),
    "LSTM": Variant(spec=ModelSpec(cell="LSTM", proj_size=4, **DEEP, **DROPPED, **SIZES), steps=4, batch=3),
    "GRU": Variant(spec=ModelSpec(cell="GRU", **DROPPED, **SIZES), steps=4, batch=3),
    "GRU before": Variant(spec=ModelSpec(cell="GRU", reset_after=False, **DROPPED, **SIZES), steps=4, batch=3),
    "LSTM1997": Variant(spec=ModelSpec(cell="LSTM1997", **DROPPED, **SIZES), steps=4, batch=3),
    "RNNCell holes": Variant(spec=ModelSpec(cell="RNNCell", **SIZES), **HOLES),
}
# Another function than the right one, whose gradient by hand is right; and JAX and PyTorch, which have no complex step.
BOTH, GRADIENT = {"forward", "gradient"}, {"gradient"}
BUGS = [
    Bug("mask taken for lengths", "holes", "numpy_impl/stack", "return None if mask is None else mask[:, :, None]", "return None if mask is None else (np.arange(T)[:, None] < mask.sum(axis=0))[:, :, None]", BOTH),
    Bug("mask ignored", "holes", "numpy_impl/stack", "return None if mask is None else mask[:, :, None]", "return None", BOTH),
    Bug("mask not turned for the reverse direction", "holes", "numpy_impl/stack", "array is not None else array", "array is not None and array.dtype != bool else array", RUNGS),
    Bug("mask not turned on the way back", "holes", "numpy_impl/stack", '{"valid": turn(direction, valid)} | recurrent_mask(masks, row)\n            dw', '{"valid": valid} | recurrent_mask(masks, row)\n            dw', BACK),
    Bug("state not frozen in a hole", "holes", "numpy_impl/lstm", "h[t] = np.where(valid[t], h[t], h_prev[t])", "h[t] = h[t]", RUNGS),
    Bug("c not frozen in a hole", "holes", "numpy_impl/lstm", "[0, 1, 0, 0]", "[0, 0.5, 0, 0]", RUNGS),
    Bug("output of a hole", "holes", "numpy_impl/stack", "h = trim(valid, turn(direction, h))", "h = turn(direction, h)", {"forward", "complex step"}),
    Bug("gradient of a hole's output", "holes", "numpy_impl/stack", "dh = turn(direction, trim(valid, dh))", "dh = turn(direction, dh)", BACK),
    Bug("dh not handed over a hole", "holes", "numpy_impl/lstm", "np.where(valid[t], dh_next, dh[t])", "np.where(valid[t], dh_next, 0)", BACK),
    Bug("state of a cell not frozen in a hole", "RNNCell holes", "numpy_impl/stack", "tuple(np.where(valid, *parts) for parts in zip(new, state, strict=True))", "new", RUNGS),
    Bug("mask not turned for the reverse direction", "holes", "torch_impl/stack", "array is not None else array", "array is not None and array.dtype != torch.bool else array", BOTH),
    Bug("state not frozen in a hole", "holes", "torch_impl/ragged", "tuple(torch.where(valid[t], *parts) for parts in zip(new, state, strict=True))", "new", BOTH),
    Bug("mask not turned for the reverse direction", "holes", "jax_impl/stack", "array is not None else array", "array is not None and array.dtype != bool else array", BOTH),
    Bug("input mask not applied", "RNN", "numpy_impl/stack", "y = dropout.forward(y, masks.input)", "y = +y", RUNGS),
    Bug("input mask not applied on the way back", "RNN", "numpy_impl/stack", "dy = dropout.backward(dy, masks.input)", "dy = +dy", BACK),
    Bug("a mask as its square on the way back", "RNN", "numpy_impl/dropout", "du * mask  # (D2)", "du * mask * mask  # (D2)", BACK),
    Bug("input mask of other sequences", "RNN", "numpy_impl/stack", "y = dropout.forward(y, masks.input)", "y = dropout.forward(y, masks.input[::-1])", RUNGS),
    Bug("recurrent mask of the other direction", "LSTM", "numpy_impl/stack", '"h_mask": masks.recurrent[row]', '"h_mask": masks.recurrent[row ^ 1]', BOTH),
    Bug("recurrent mask of the first layer everywhere", "LSTM", "numpy_impl/stack", '"h_mask": masks.recurrent[row]', '"h_mask": masks.recurrent[row % 2]', BOTH),
    Bug("recurrent mask missing in dW_hh", "RNN", "numpy_impl/elman", "h_prev if h_mask is None else dropout.forward(h_prev, h_mask)", "h_prev", BACK),
    Bug("recurrent mask missing on the way back", "RNN", "numpy_impl/elman", "dh_next = dropout.backward(dh_next, h_mask)", "dh_next = +dh_next", BACK),
    Bug("recurrent mask at the first step alone", "RNN", "numpy_impl/elman", "if h_mask is not None:\n            h_in = ", "if h_mask is not None and t == 0:\n            h_in = ", RUNGS),
    Bug("recurrent mask drawn anew at each step", "RNN", "numpy_impl/elman", "h_in = dropout.forward(h_in, h_mask)", "h_in = dropout.forward(h_in, np.random.default_rng(t).permutation(h_mask))", RUNGS),
    Bug("recurrent mask missing in dW_hh", "LSTM", "numpy_impl/lstm", "h_prev if h_mask is None else dropout.forward(h_prev, h_mask)", "h_prev", BACK),
    Bug("recurrent mask missing on the way back", "LSTM", "numpy_impl/lstm", "dh_next = dropout.backward(dh_next, h_mask)", "dh_next = +dh_next", BACK),
    Bug("recurrent mask of the output too", "LSTM", "numpy_impl/lstm", "h[t] = m[t] @ w.weight_hr.T", "h[t] = (m[t] @ w.weight_hr.T) * (1 if h_mask is None else h_mask)", RUNGS),
    Bug("recurrent mask missing in dW_hh", "LSTM1997", "numpy_impl/lstm1997", "h_prev if h_mask is None else dropout.forward(h_prev, h_mask)", "h_prev", BACK),
    Bug("recurrent mask missing on the way back", "LSTM1997", "numpy_impl/lstm1997", "dh_next = dropout.backward(dh_next, h_mask)", "dh_next = +dh_next", BACK),
    Bug("recurrent mask applied to the leak", "GRU", "numpy_impl/gru", "+ z[t] * h_in  #", "+ z[t] * read  #", RUNGS),
    Bug("recurrent mask applied to the leak on the way back", "GRU", "numpy_impl/gru", "dh_next = dh * z[t] + dread", "dh_next = (dh * z[t] if h_mask is None else dh * z[t] * h_mask) + dread", BACK),
    Bug("recurrent mask not in the gates", "GRU", "numpy_impl/gru", "+ read @ w.weight_hh[: 2 * H].T", "+ h_in @ w.weight_hh[: 2 * H].T", RUNGS),
    Bug("recurrent mask not in the candidate", "GRU", "numpy_impl/gru", "s[t] = read if", "s[t] = h_in if", RUNGS),
    Bug("recurrent mask missing in dW_hn", "GRU", "numpy_impl/gru", "dq_n.T @ s.reshape", "dq_n.T @ (h_prev if reset_after else s).reshape", BACK),
    Bug("recurrent mask missing in dW_hr and dW_hz", "GRU", "numpy_impl/gru", "dq.T @ read.reshape", "dq.T @ h_prev.reshape", BACK),
    Bug("recurrent mask not under r", "GRU before", "numpy_impl/gru", "else r[t] * read", "else r[t] * h_in", RUNGS),
    Bug("recurrent mask missing in dr", "GRU before", "numpy_impl/gru", "else ds * read[t]", "else ds * h_prev[t]", BACK),
    Bug("recurrent mask applied to the leak", "GRU", "torch_impl/gru", "+ z * h_prev  #", "+ z * read  #", BOTH),
    Bug("recurrent mask without its gradient", "RNN", "torch_impl/elman", "drop(h_prev, h_mask)", "(h_prev + (drop(h_prev, h_mask) - h_prev).detach())", GRADIENT),
    Bug("recurrent mask missing", "LSTM1997", "torch_impl/lstm1997", "drop(h_prev, h_mask)", "h_prev", BOTH),
    Bug("recurrent mask applied to the leak", "GRU", "jax_impl/gru", "+ z * h_prev  #", "+ z * read  #", BOTH),
    Bug("recurrent mask missing", "LSTM", "jax_impl/lstm", "drop(h_prev, h_mask)", "h_prev", BOTH),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.file} {bug.on}: {bug.name}")
def test_bug_is_caught(bug: Bug, plant: Callable[[str, str, str], Backend]) -> None:
    assert found_by(plant(bug.file, bug.old, bug.new), ON[bug.on]) == bug.caught_by


@pytest.mark.parametrize(
    "bug", {(bug.file, bug.on): bug for bug in BUGS}.values(), ids=lambda bug: f"{bug.file} {bug.on}"
)
def test_copy_without_a_bug_passes(bug: Bug, plant: Callable[[str, str, str], Backend]) -> None:
    """The control: the copy alone is not what the harness objects to."""
    assert found_by(plant(bug.file, bug.old, bug.old), ON[bug.on]) == set()
