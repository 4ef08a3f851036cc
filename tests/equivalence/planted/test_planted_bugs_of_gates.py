"""The planted bugs of the GRU, in both its forms, and of the LSTM of 1997."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.backend.contract import Backend
from common.equivalence.variants import Variant
from common.model.spec import ModelSpec
from tests.equivalence.planted.bugs import ALL, BACK, BPTT, RUNGS, Bug, found_by

SIZES: dict[str, Any] = {"input_size": 3, "hidden_size": 5}
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dropout": 0.4}
RAGGED: dict[str, Any] = {"steps": 4, "batch": 3, "lengths": (2, 4, 0)}


def both(name: str, spec: ModelSpec, **problem: Any) -> dict[str, Variant]:
    """A GRU with reset after, as it is by default, and with reset before."""
    before = replace(spec, reset_after=False)
    return {name: Variant(spec=spec, **problem), f"{name} before": Variant(spec=before, **problem)}


def one(cell: str, **options: Any) -> ModelSpec:
    return ModelSpec(cell=cell, **SIZES, **options)


DRAWN = {
    **both("step", one("GRUCell"), steps=3, batch=4),
    **both("layer", one("GRU"), steps=4, batch=3),
    **both("ragged", one("GRU"), **RAGGED),
    **both("ragged step", one("GRUCell"), **RAGGED),
    **both("stack", one("GRU", **DEEP), **RAGGED),
    "1997 step": Variant(spec=one("LSTM1997Cell"), steps=3, batch=4),
    "1997": Variant(spec=one("LSTM1997"), steps=4, batch=3),
    "1997 ragged": Variant(spec=one("LSTM1997"), **RAGGED),
    "1997 ragged step": Variant(spec=one("LSTM1997Cell"), **RAGGED),
    "1997 stack": Variant(spec=one("LSTM1997", **DEEP), **RAGGED),
}
FROZEN = {"complex step", "forward"}
OTHERS = {"forward", "gradient"}  # JAX and PyTorch, on one variant

BUGS = [
    # One step of the GRU, forward
    Bug("r, z swapped", "step", "numpy_impl/gru_cell", "a_r, a_z, a_n = np", "a_z, a_r, a_n = np", RUNGS),
    Bug("z, n swapped", "step", "numpy_impl/gru_cell", "a_r, a_z, a_n = np", "a_r, a_n, a_z = np", RUNGS),
    Bug("r's recurrent part is z's", "step before", "numpy_impl/gru_cell", "a_r + q_r", "a_r + q_z", RUNGS),
    Bug("z, 1 - z swapped", "step", "numpy_impl/gru_cell", "(1 - z) * n + z * h_prev", "z * n + (1 - z) * h_prev", RUNGS),
    Bug("b_hn outside the product", "step", "numpy_impl/gru_cell", "(r * q_n if", "(r * (q_n - w.bias_hh[2 * H :]) + w.bias_hh[2 * H :] if", RUNGS),
    Bug("b_hn forgotten", "step", "numpy_impl/gru_cell", "q_n = q_n + w.bias_hh[2 * H :]", "q_n = +q_n", RUNGS),
    Bug("b_hn forgotten", "step before", "numpy_impl/gru_cell", "q_n = q_n + w.bias_hh[2 * H :]", "q_n = +q_n", RUNGS),
    Bug("b_in forgotten", "step", "numpy_impl/gru_cell", "a = a + w.bias_ih", "a = a + np.where(np.arange(3 * H) < 2 * H, w.bias_ih, 0)", RUNGS),
    Bug("b_hz forgotten", "step", "numpy_impl/gru_cell", "q = q + w.bias_hh[: 2 * H]", "q = q + np.where(np.arange(2 * H) < H, w.bias_hh[: 2 * H], 0)", RUNGS),
    Bug("r before and after", "step", "numpy_impl/gru_cell", "s = h_prev if reset_after else", "s =", RUNGS),
    Bug("r neither before nor after", "step", "numpy_impl/gru_cell", "r * q_n if reset_after", "q_n if reset_after", RUNGS),
    Bug("r neither before nor after", "step before", "numpy_impl/gru_cell", "else r * h_prev", "else h_prev", RUNGS),
    Bug("r scales the input's part too", "step", "numpy_impl/gru_cell", "np.tanh(a_n + (r * q_n if reset_after else q_n))", "np.tanh(r * (a_n + q_n) if reset_after else a_n + q_n)", RUNGS),
    Bug("sigmoid for the candidate", "step", "numpy_impl/gru_cell", "n = np.tanh(", "n = sigmoid(", RUNGS),
    # and backward
    Bug("da_z with the other sign", "step", "numpy_impl/gru_cell", "(h_prev - n)", "(n - h_prev)", BACK),
    Bug("da_z without n", "step", "numpy_impl/gru_cell", "dh * (h_prev - n)", "dh * h_prev", BACK),
    Bug("z's slope missing", "step", "numpy_impl/gru_cell", "(h_prev - n) * z * (1 - z)", "(h_prev - n)", BACK),
    Bug("n's slope missing", "step", "numpy_impl/gru_cell", "dh * (1 - z) * (1 - n * n)", "dh * (1 - z)", BACK),
    Bug("n's share is z", "step", "numpy_impl/gru_cell", "dh * (1 - z) * (1 - n * n)", "dh * z * (1 - n * n)", BACK),
    Bug("r's slope missing", "step", "numpy_impl/gru_cell", "dr * r * (1 - r)", "dr", BACK),
    Bug("r missing in dq_n", "step", "numpy_impl/gru_cell", "dq_n = da_n * r if reset_after else da_n", "dq_n = da_n", BACK),
    Bug("r in dq_n with reset before", "step before", "numpy_impl/gru_cell", "dq_n = da_n * r if reset_after else da_n", "dq_n = da_n * r", BACK),
    Bug("dr without b_hn", "step", "numpy_impl/gru_cell", "da_n * q_n if", "da_n * (q_n - w.bias_hh[2 * H :]) if", BACK),
    Bug("dr from dq_n", "step", "numpy_impl/gru_cell", "dr = da_n * q_n", "dr = dq_n * q_n", BACK),
    Bug("dr from s", "step before", "numpy_impl/gru_cell", "else ds * h_prev", "else ds * s", BACK),
    Bug("dr is zero", "step before", "numpy_impl/gru_cell", "else ds * h_prev", "else 0 * h_prev", BACK),
    Bug("db_hh is db_ih", "step", "numpy_impl/gru_cell", "dbias_hh = np.concatenate([dq, dq_n], axis=1).sum(axis=0)", "dbias_hh = dbias_ih", BACK),
    Bug("dW_hn from h", "step before", "numpy_impl/gru_cell", "dq_n.T @ s", "dq_n.T @ h_prev", BACK),
    Bug("dW_hn from da_n", "step", "numpy_impl/gru_cell", "dq_n.T @ s", "da_n.T @ s", BACK),
    Bug("dW_hh in another order", "step", "numpy_impl/gru_cell", "[dq.T @ h_prev, dq_n.T @ s]", "[dq_n.T @ s, dq.T @ h_prev]", BACK),
    Bug("dh * z missing", "step", "numpy_impl/gru_cell", "dh_prev = dh * z + dq", "dh_prev = dq", BACK),
    Bug("gates' dh missing", "step", "numpy_impl/gru_cell", "dh * z + dq @ w.weight_hh[: 2 * H]", "dh * z", BACK),
    Bug("candidate's dh missing", "step", "numpy_impl/gru_cell", "(ds if reset_after else ds * r)", "0 * ds", BACK),
    Bug("r missing in dh", "step before", "numpy_impl/gru_cell", "(ds if reset_after else ds * r)", "ds", BACK),
    # The GRU over a sequence
    Bug("r, z swapped", "GRU", "numpy_impl/gru", "r[t], z[t] = np.split", "z[t], r[t] = np.split", ALL),
    Bug("b_hn outside the product", "GRU", "numpy_impl/gru", "(r[t] * q_n[t] if", "(r[t] * (q_n[t] - b_n) + b_n if", ALL),
    Bug("db_hn is db_in", "GRU", "numpy_impl/gru", "dq_n.sum(axis=0)]", "dbias_ih[2 * H :]]", BPTT),
    Bug("dh_next dropped", "GRU", "numpy_impl/gru", "dy[t] + dh_next", "dy[t]", BPTT),
    Bug("b_hz forgotten", "layer", "numpy_impl/gru", "a[..., : 2 * H] += w.bias_hh[: 2 * H]", "a[..., :H] += w.bias_hh[:H]", RUNGS),
    Bug("z, 1 - z swapped", "layer", "numpy_impl/gru", "(1 - z[t]) * n[t] + z[t] * h_in", "z[t] * n[t] + (1 - z[t]) * h_in", RUNGS),
    Bug("r neither before nor after", "layer before", "numpy_impl/gru", "else r[t] * read", "else read", RUNGS),
    Bug("r missing in dq_n", "layer", "numpy_impl/gru", "dq_n[t] = da_n[t] * r[t]", "dq_n[t] = da_n[t]", BACK),
    Bug("dr from dy", "layer before", "numpy_impl/gru", "else ds * read[t]", "else dy[t] * read[t]", BACK),
    Bug("dh * z missing", "layer", "numpy_impl/gru", "dh_next = dh * z[t] + dread", "dh_next = dread", BACK),
    Bug("r missing in dh", "layer before", "numpy_impl/gru", "(ds if reset_after else ds * r[t])", "ds", BACK),
    Bug("dW_hn from h", "layer before", "numpy_impl/gru", "dq_n.T @ s.reshape", "dq_n.T @ h_prev.reshape", BACK),
    Bug("h of a frozen step", "ragged", "numpy_impl/gru", "h[t] = np.where(valid[t], h[t], h_prev[t])", "h[t] = +h[t]", FROZEN),
    Bug("da of a frozen step", "ragged", "numpy_impl/gru", "np.where(valid[t], total, 0)", "total", BACK),
    Bug("da of a frozen step", "ragged before", "numpy_impl/gru", "np.where(valid[t], total, 0)", "total", BACK),
    Bug("dh not handed on", "ragged", "numpy_impl/gru", "np.where(valid[t], dh_next, total)", "np.where(valid[t], dh_next, 0)", BACK),
    Bug("da of a frozen step", "ragged step before", "numpy_impl/stack", "back(w, tape, tuple(np.where(valid, part, 0) for part in dstate))", "back(w, tape, dstate)", BACK),
    # The other form, forward and back: consistent in itself, so that no complex step can see it
    Bug("the other form", "step", "numpy_impl/stack", "], spec.step_options", "], {'reset_after': not spec.reset_after}", OTHERS),
    Bug("the other form", "stack", "numpy_impl/stack", "], spec.step_options", "], {'reset_after': not spec.reset_after}", OTHERS),
    Bug("the other form", "stack before", "numpy_impl/stack", "], spec.step_options", "], {'reset_after': not spec.reset_after}", OTHERS),
    Bug("directions swapped", "stack before", "numpy_impl/stack", "concatenate(outputs,", "concatenate(outputs[::-1],", RUNGS),
    Bug("dr without its slope", "stack before", "numpy_impl/gru", "dr * (r[t] * (1 - r[t]))", "dr", BACK),
    # The LSTM of 1997
    Bug("i, g swapped", "1997 step", "numpy_impl/lstm1997_cell", "a_i, a_g, a_o = np", "a_g, a_i, a_o = np", RUNGS),
    Bug("i, o swapped", "1997 step", "numpy_impl/lstm1997_cell", "a_i, a_g, a_o = np", "a_o, a_g, a_i = np", RUNGS),
    Bug("a forget gate", "1997 step", "numpy_impl/lstm1997_cell", "c = c_prev + i * g", "c = (1 - i) * c_prev + i * g", RUNGS),
    Bug("the paper's squashing function", "1997 step", "numpy_impl/lstm1997_cell", "tanh_c = np.tanh(c)", "tanh_c = np.tanh(c / 2)", RUNGS),
    Bug("i's slope missing", "1997 step", "numpy_impl/lstm1997_cell", "dc * g * i * (1 - i)", "dc * g", BACK),
    Bug("g's slope missing", "1997 step", "numpy_impl/lstm1997_cell", "dc * i * (1 - g * g)", "dc * i", BACK),
    Bug("o's slope missing", "1997 step", "numpy_impl/lstm1997_cell", "dh * tanh_c * o * (1 - o)", "dh * tanh_c", BACK),
    Bug("c's slope missing", "1997 step", "numpy_impl/lstm1997_cell", "dh * o * (1 - tanh_c * tanh_c)", "dh * o", BACK),
    Bug("dc not passed on", "1997 step", "numpy_impl/lstm1997_cell", "dc_prev = dc  #", "dc_prev = 0 * dc  #", BACK),
    Bug("dc forgotten", "1997 step", "numpy_impl/lstm1997_cell", "dc_prev = dc  #", "dc_prev = dc * (1 - i)  #", BACK),
    Bug("the paper's truncation", "1997 step", "numpy_impl/lstm1997_cell", "dh_prev = da @ w.weight_hh", "dh_prev = 0 * h_prev", BACK),
    Bug("a forget gate", "LSTM1997", "numpy_impl/lstm1997", "c = c + i[t] * g[t]", "c = (1 - i[t]) * c + i[t] * g[t]", ALL),
    Bug("dc not passed on", "LSTM1997", "numpy_impl/lstm1997", "dc = dc + dh * o[t]", "dc = dh * o[t]", BPTT),
    Bug("the paper's truncation", "1997", "numpy_impl/lstm1997", "dh_next = da[t] @ w.weight_hh", "dh_next = 0 * dh", BACK),
    Bug("one bias forgotten", "1997", "numpy_impl/lstm1997", "a += w.bias_ih + w.bias_hh", "a += w.bias_ih", RUNGS),
    Bug("frozen input gate open", "1997 ragged", "numpy_impl/lstm1997", "i[t], o[t] = (np.where(valid[t], gate, 0) for gate in (i[t], o[t]))", "o[t] = np.where(valid[t], o[t], 0)", RUNGS),
    Bug("frozen output gate open", "1997 ragged", "numpy_impl/lstm1997", "i[t], o[t] = (np.where(valid[t], gate, 0) for gate in (i[t], o[t]))", "i[t] = np.where(valid[t], i[t], 0)", BACK),
    Bug("h of a frozen step", "1997 ragged", "numpy_impl/lstm1997", "h[t] = np.where(valid[t], h[t], h_prev[t])", "h[t] = +h[t]", FROZEN),
    Bug("dh not handed on", "1997 ragged", "numpy_impl/lstm1997", "np.where(valid[t], dh_next, dh)", "np.where(valid[t], dh_next, 0)", BACK),
    Bug("dh and dc not handed on", "1997 ragged step", "numpy_impl/stack", "tuple(np.where(valid, *parts) for parts in zip(dprev, dstate, strict=True))", "dprev", BACK),
    Bug("dc without the output", "1997 stack", "numpy_impl/lstm1997", "dc = dc + dh * o[t]", "dc = dc + 0 * dh * o[t]", BACK),
    # JAX and PyTorch
    Bug("r, z swapped", "layer", "jax_impl/gru", "a_r, a_z = jnp", "a_z, a_r = jnp", OTHERS),
    Bug("r neither before nor after", "stack before", "jax_impl/gru", "else r * read", "else read", OTHERS),
    Bug("dr lost", "step", "jax_impl/gru_cell", "(r * q_n if", "(jax.lax.stop_gradient(r) * q_n if", {"gradient"}),
    Bug("b_hn outside the product", "step", "jax_impl/gru_cell", "(r * q_n if", "(r * (q_n - w.bias_hh[2 * H :]) + w.bias_hh[2 * H :] if", OTHERS),
    Bug("dc not passed on", "1997 stack", "jax_impl/lstm1997", "c = c_prev + i * g", "c = jax.lax.stop_gradient(c_prev) + i * g", {"gradient"}),
    Bug("a forget gate", "1997 step", "jax_impl/lstm1997_cell", "c = c_prev + i * g", "c = (1 - i) * c_prev + i * g", OTHERS),
    Bug("z, 1 - z swapped", "stack", "torch_impl/gru", "(1 - z) * n + z * h_prev", "z * n + (1 - z) * h_prev", OTHERS),
    Bug("b_hn outside the product", "layer", "torch_impl/gru", "(r * q_n if", "(r * (q_n - b_n) + b_n if", OTHERS),
    Bug("dr lost", "step before", "torch_impl/gru_cell", "else r * h_prev", "else r.detach() * h_prev", {"gradient"}),
    Bug("the other form", "ragged step", "torch_impl/gru_cell", "(r * q_n if reset_after", "(q_n if reset_after", OTHERS),
    Bug("dc not passed on", "1997 stack", "torch_impl/lstm1997", "c = c_prev + i * g", "c = c_prev.detach() + i * g", {"gradient"}),
    Bug("i, o swapped", "1997 step", "torch_impl/lstm1997_cell", "a_i, a_g, a_o = a", "a_o, a_g, a_i = a", OTHERS),
]  # fmt: skip
# What is no bug in the other form: there, it changes nothing.
HARMLESS = [
    Bug("db_hh is db_ih", "step before", "numpy_impl/gru_cell", "dbias_hh = np.concatenate([dq, dq_n], axis=1).sum(axis=0)", "dbias_hh = dbias_ih", set()),
    Bug("b_hn outside the product", "step before", "numpy_impl/gru_cell", "(r * q_n if", "(r * (q_n - w.bias_hh[2 * H :]) + w.bias_hh[2 * H :] if", set()),
    Bug("dW_hn from h", "step", "numpy_impl/gru_cell", "dq_n.T @ s", "dq_n.T @ h_prev", set()),
    Bug("r missing in dh", "step", "numpy_impl/gru_cell", "(ds if reset_after else ds * r)", "ds", set()),
]  # fmt: skip


@pytest.mark.parametrize("bug", [*BUGS, *HARMLESS], ids=lambda bug: f"{bug.label}, {bug.on}")
def test_bug_is_caught(bug: Bug, plant: Callable[[str, str, str], Backend]) -> None:
    assert found_by(plant(bug.file, bug.old, bug.new), DRAWN.get(bug.on, bug.on)) == bug.caught_by


@pytest.mark.parametrize(
    "bug", {(bug.file, bug.on): bug for bug in BUGS}.values(), ids=lambda bug: f"{bug.file} {bug.on}"
)
def test_copy_without_a_bug_passes(bug: Bug, plant: Callable[[str, str, str], Backend]) -> None:
    """The control: the copy alone is not what the harness objects to."""
    assert found_by(plant(bug.file, bug.old, bug.old), DRAWN.get(bug.on, bug.on)) == set()


def test_the_bugs_are_planted_in_every_file_and_in_every_kind_of_variant() -> None:
    cells = ("gru", "gru_cell", "lstm1997", "lstm1997_cell")
    files = {f"{package}_impl/{cell}" for package in ("numpy", "jax", "torch") for cell in cells}
    assert {bug.file for bug in BUGS} == files | {"numpy_impl/stack"}
    assert {bug.on for bug in BUGS} == {*DRAWN, "GRU", "LSTM1997"}
    assert set(DRAWN["stack before"].spec.options) == {"num_layers", "bidirectional", "dropout", "reset_before"}
