"""The harness must be able to fail: bugs planted one at a time in a copy of an implementation, each to be caught.

Those of the GRU and of the LSTM of 1997 are in ``test_planted_bugs_of_gates``.
"""

from collections.abc import Callable
from typing import Any

import pytest

from common.backend import registry
from common.backend.contract import Backend
from common.equivalence import ladder
from common.equivalence.shrinking import shrink
from common.equivalence.variants import Variant
from common.model.spec import OPTIONS, OTHER_FORMS, ModelSpec
from tests.equivalence.planted.bugs import ALL, BACK, BPTT, NO_STEP, RUNGS, TRAINED, Bug, found_by

# Every option at once. Layers 1 and 2 have weights of one shape, so that one can be mistaken for the other.
SIZES: dict[str, Any] = {"input_size": 3, "hidden_size": 5, "num_layers": 3, "proj_size": 4}
STACK = Variant(
    spec=ModelSpec(cell="LSTM", bidirectional=True, dropout=0.4, **SIZES), steps=7, batch=6, lengths=(4, 7, 1, 5, 0, 2)
)
RAGGED: dict[str, Any] = {"steps": 4, "batch": 3, "lengths": (2, 4, 0)}
DRAWN = {"stack": STACK} | {
    f"ragged {cell}": Variant(spec=ModelSpec(cell=cell, input_size=3, hidden_size=5), **RAGGED)
    for cell in ("RNN", "LSTMCell")
}


BUGS = [
    Bug("W_hh transposed", "RNN", "numpy_impl/elman", "h_in @ w.weight_hh.T", "h_in @ w.weight_hh", ALL),
    Bug("one bias forgotten", "RNN", "numpy_impl/elman", "a_x += w.bias_ih + w.bias_hh", "a_x += w.bias_ih", ALL),
    Bug("initial state ignored", "RNN", "numpy_impl/elman", "(h_prev[0],) = state0", "h_prev[0] = 0", ALL),
    Bug("final state is the first", "RNN", "numpy_impl/elman", "return h, (hs[-1],)", "return h, (hs[1],)", ALL - {"gradient"}),
    Bug("float32 inside", "RNN", "numpy_impl/elman", "x.dtype)", "'f4' if x.dtype == 'f8' else x.dtype)", ALL),
    Bug("gates i, f swapped", "LSTM", "numpy_impl/lstm", "i, f, g, o = split(gates)\n    for", "f, i, g, o = split(gates)\n    for", ALL),
    Bug("sigmoid(2x)", "LSTMCell", "numpy_impl/lstm_cell", "np.tanh(0.5 * a)", "np.tanh(a)", ALL),
    Bug("dh_next dropped", "RNN", "numpy_impl/elman", "dy[t] + dh_next", "dy[t]", BPTT),
    Bug("dh_next dropped", "LSTM", "numpy_impl/lstm", "dy[t] + dh_next", "dy[t]", BPTT),
    Bug("dc_next dropped", "LSTM", "numpy_impl/lstm", "dc_next + dm * o[t]", "dm * o[t]", BPTT),
    Bug("dc_next not forgotten", "LSTM", "numpy_impl/lstm", "dc_next = dc * f[t]", "dc_next = dc", BPTT),
    Bug("dh_n ignored", "RNN", "numpy_impl/elman", "(dh_next,) = dlast", "dh_next = 0 * dlast[0]", BPTT),
    Bug("W_hh transposed in BPTT", "RNN", "numpy_impl/elman", "da[t] @ w.weight_hh", "da[t] @ w.weight_hh.T", BPTT),
    Bug("dy reversed in time", "RNN", "numpy_impl/elman", "dh = dy[t]", "dh = dy[T - 1 - t]", BPTT),
    Bug("batch permuted", "RNN", "numpy_impl/elman", "dh = dy[t]", "dh = dy[t][::-1]", BPTT),
    Bug("= for +=", "RNNCell", "numpy_impl/unroll", "total = add(total, dw)", "total = dw", BPTT),
    Bug("h for h_prev", "RNN", "numpy_impl/elman", "da.T @ h_in.reshape", "da.T @ h.reshape", BPTT),
    Bug("dW_hh wrong by 0.1%", "LSTM", "numpy_impl/lstm", "dweight_hh = da.T", "dweight_hh = 1.001 * da.T", BPTT),
    Bug("relu's slope for tanh", "RNN", "numpy_impl/rnn_cell", "(np.tanh, tanh_slope)", "(np.tanh, relu_slope)", BPTT),
    Bug("half a bias gradient", "LSTMCell", "numpy_impl/lstm_cell", "dbias_hh = da.sum(axis=0)", "dbias_hh = da.sum(axis=0) / 2", BPTT),
    Bug("dh_0 one step off", "RNN", "numpy_impl/elman", "dx, (dh_next,)", "dx, (dh,)", BPTT),
    Bug("dh_0, dc_0 swapped", "LSTM", "numpy_impl/lstm", "dx, (dh_next, dc_next)", "dx, (dc_next, dh_next)", BPTT),
    Bug("loss gradient halved", "RNN", "numpy_impl/readout", "2 * error / count", "error / count", TRAINED),
    Bug("loss summed", "RNN", "numpy_impl/readout", "(error * error).sum() / count", "(error * error).sum()", TRAINED),
    Bug("readout of the first step", "RNN", "numpy_impl/readout", "last: Any = -1", "last: Any = 0", TRAINED),
    Bug("readout of another sequence", "RNN", "numpy_impl/readout", "np.s_[:, -1]", "np.s_[:, 0]", TRAINED),
    Bug("SGD 1% too fast", "RNN", "numpy_impl/optim", "spec.momentum * state.mean[name] + g", "spec.momentum * state.mean[name] + 1.01 * g", {"training"}),
    Bug("Adam without correction", "RNN", "numpy_impl/optim", "1 - beta2**step", "1", {"training"}),
    Bug("Adam's epsilon misplaced", "RNN", "numpy_impl/optim", "/ unbias2) + spec.eps", "/ unbias2 + spec.eps)", {"training"}),
    Bug("gates i, f swapped", "LSTM", "jax_impl/lstm", "a_i, a_f, a_g, a_o = jnp", "a_f, a_i, a_g, a_o = jnp", NO_STEP),
    Bug("h_n, c_n swapped", "LSTM", "jax_impl/stack", "for parts in zip(*finals, strict=True)", "for parts in tuple(zip(*finals, strict=True))[::-1]", NO_STEP),
    Bug("one bias forgotten", "LSTM", "torch_impl/lstm", "(w.bias_ih + w.bias_hh)", "(w.bias_ih + 0 * w.bias_hh)", NO_STEP),
    Bug("half of dh_next lost", "RNN", "torch_impl/elman", "addmm(a_t, drop(h_prev, h_mask),", "addmm(a_t, (h_prev + h_prev.detach()) / 2,", NO_STEP - {"forward"}),
    Bug("readout of the other half", "RNN", "numpy_impl/readout", "state[0][-seen.directions :]), axis=1)  #", "state[0][-seen.directions :]), axis=1)[::-1]  #", TRAINED),
    Bug("gradient of h_n lost", "LSTM", "numpy_impl/readout", "dstate[0][-seen.directions :] =", "_ =", TRAINED),
    Bug("a symbol too far", "RNN", "numpy_impl/embedding", "return table[x]", "return table[x - 1]", TRAINED),
    Bug("a symbol's gradient once", "RNN", "numpy_impl/embedding", "np.add.at(dtable, x, dvectors)", "dtable[x] = dvectors", TRAINED),
    Bug("targets that do not count do", "RNN", "numpy_impl/readout", "target >= 0, np", "target >= -1, np", TRAINED),
    Bug("softmax without its target", "RNN", "numpy_impl/readout", "right, axis=-1) - 1, axis=-1)", "right, axis=-1), axis=-1)", TRAINED),
    Bug("mean over all targets", "RNN", "numpy_impl/readout", "* counted).sum() / counted.sum()", "* counted).mean()", TRAINED),
    Bug("decoder from zero", "LSTM", "numpy_impl/network", "vectors, state, None, batch.decoder_masks)", "vectors, state0, None, batch.decoder_masks)", TRAINED),
    Bug("decoder's gradient not handed on", "LSTM", "numpy_impl/network", "dw, dvectors, dstate = core.backward", "dw, dvectors, _ = core.backward", TRAINED),
    Bug("clipping each array alone", "RNN", "numpy_impl/optim", "else {name: g * (largest / norm)", "else {name: g * min(1, largest / np.linalg.norm(g))", {"training"}),
    Bug("torch's epsilon in the clipping", "RNN", "numpy_impl/optim", "(largest / norm)", "(largest / (norm + 1e-6))", {"training"}),
    Bug("momentum forgotten", "RNN", "numpy_impl/optim", "velocity = {name: spec.momentum * state", "velocity = {name: 0 * state", {"training"}),
    Bug("RMSprop's epsilon in the root", "RNN", "numpy_impl/optim", "g / (np.sqrt(square[k]) + spec.eps)", "g / np.sqrt(square[k] + spec.eps)", {"training"}),
    Bug("schedule one update late", "RNN", "numpy_impl/optim", "factor(spec, state.step)", "factor(spec, max(0, state.step - 1))", {"training"}),
    Bug("state not carried", "RNN", "numpy_impl/trainer", "batch, state0, self._core", "batch, None, self._core", {"training"}),
    Bug("gradient once more", "LSTM", "jax_impl/trainer", "updates, state = rule.update(grads, state, params)", "updates, state = rule.update(jax.tree.map(lambda g: 1.0001 * g, grads), state, params)", {"training"}),
    Bug("lengths ignored in the readout", "LSTM", "jax_impl/readout", "return jnp.concatenate(list(state[0][-directions:]), axis=1)", "return y[-1]", TRAINED),
    Bug("rates in float32", "RNN", "jax_impl/optim", 'rate(jnp.asarray(count, "float64"))', "rate(count)", {"training"}),
    Bug("momentum after the rate", "RNN", "torch_impl/optim", "momentum=spec.momentum)\n        case _:", "momentum=0.9 * spec.momentum)\n        case _:", {"training"}),
    Bug("no clipping", "RNN", "torch_impl/optim", "if norm > largest:", "if norm > 2 * largest:", {"training"}),
    Bug("padding trained on", "LSTM", "torch_impl/readout", "target.flatten().long(),", "target.flatten().long().clamp(min=0),", TRAINED),
    Bug("directions swapped", "stack", "numpy_impl/stack", "concatenate(outputs,", "concatenate(outputs[::-1],", RUNGS),
    Bug("layers in another order", "stack", "numpy_impl/stack", "tape = run(layer_weights(params, suffixes[row])", "tape = run(layer_weights(params, suffixes[{2: 4, 4: 2}.get(row, row)])", RUNGS),
    Bug("initial state of the other direction", "stack", "numpy_impl/stack", "initial = tuple(part[row] for", "initial = tuple(part[row ^ 1] for", RUNGS),
    Bug("mask applied to the last layer", "stack", "numpy_impl/stack", "level < spec.num_layers - 1:\n            y = y * masks.layers[level]", "True:\n            y = y * masks.layers[min(level, 1)]", {"forward", "complex step"}),
    Bug("one mask for all layers", "stack", "numpy_impl/stack", "y = y * masks.layers[level]", "y = y * masks.layers[0]", RUNGS),
    Bug("mask not applied on the way back", "stack", "numpy_impl/stack", "dy = dy * masks.layers[level]", "dy = dy * 1", BACK),
    Bug("lengths ignored in the reverse direction", "stack", "numpy_impl/stack", "array is not None else array", "array is not None and array.dtype != bool else array", RUNGS),
    Bug("one step too long", "stack", "numpy_impl/stack", "[:, None] < lengths", "[:, None] <= lengths", {"forward", "gradient"}),
    Bug("outputs in the padding", "stack", "numpy_impl/stack", "h = trim(valid, turn(direction, h))", "h = turn(direction, h)", {"forward", "complex step"}),
    Bug("gradients from the padding", "stack", "numpy_impl/stack", "dh = turn(direction, trim(valid, dh))", "dh = turn(direction, dh)", BACK),
    Bug("final gradients dropped", "stack", "numpy_impl/stack", "dlast = tuple(part[row] for", "dlast = tuple(0 * part[row] for", BACK),
    Bug("frozen h not frozen", "stack", "numpy_impl/lstm", "h[t] = np.where(valid[t], h[t], h_prev[t])", "h[t] = h[t]", RUNGS),
    Bug("frozen c not frozen", "stack", "numpy_impl/lstm", "[0, 1, 0, 0]", "[0, 0.5, 0, 0]", RUNGS),
    Bug("frozen input gate open", "stack", "numpy_impl/lstm", "[0, 1, 0, 0]", "[1, 1, 0, 0]", BACK),
    Bug("frozen output gate open", "stack", "numpy_impl/lstm", "[0, 1, 0, 0]", "[0, 1, 0, 1]", BACK),
    Bug("dh not handed on", "stack", "numpy_impl/lstm", "np.where(valid[t], dh_next, dh[t])", "np.where(valid[t], dh_next, 0)", BACK),
    Bug("frozen h not frozen", "ragged RNN", "numpy_impl/elman", "h[t] = np.where(valid[t], h[t], h_prev[t])", "h[t] = h[t]", {"forward", "complex step"}),
    Bug("da of a frozen step", "ragged RNN", "numpy_impl/elman", "dphi = np.where(valid, dphi, 0)", "dphi = +dphi", BACK),
    Bug("dh not handed on", "ragged RNN", "numpy_impl/elman", "np.where(valid[t], dh_next, dh)", "np.where(valid[t], dh_next, 0)", BACK),
    Bug("frozen state not frozen", "ragged LSTMCell", "numpy_impl/stack", "tuple(np.where(valid, *parts) for parts in zip(new, state, strict=True))", "new", {"forward", "complex step"}),
    Bug("da of a frozen step", "ragged LSTMCell", "numpy_impl/stack", "back(w, tape, tuple(np.where(valid, part, 0) for part in dstate))", "back(w, tape, dstate)", BACK),
    Bug("dh and dc not handed on", "ragged LSTMCell", "numpy_impl/stack", "tuple(np.where(valid, *parts) for parts in zip(dprev, dstate, strict=True))", "dprev", BACK),
    Bug("dx of the reverse direction not turned", "stack", "numpy_impl/stack", "dinputs.append(turn(direction, dx_in))", "dinputs.append(dx_in)", BACK),
    Bug("dx of one direction lost", "stack", "numpy_impl/stack", "sum(dinputs[1:], start=dinputs[0])", "dinputs[0]", BACK),
    Bug("dh_0 in another order", "stack", "numpy_impl/stack", "np.stack(parts[::-1])", "np.stack(parts)", BACK),
    Bug("projection's gradient dropped", "stack", "numpy_impl/lstm", "dweight_hr = dh", "dweight_hr = 0 * dh", BACK),
    Bug("projection of a gate", "stack", "numpy_impl/lstm", "h[t] = m[t] @", "h[t] = o[t] @", RUNGS),
    Bug("dm without its slope", "stack", "numpy_impl/lstm", "dc_next + dm * o[t]", "dc_next + dm", BACK),
    Bug("dy dropped", "ragged LSTMCell", "numpy_impl/unroll", "dstate[0] + dy[t]", "dstate[0]", BACK),
    Bug("directions swapped", "stack", "jax_impl/stack", "concatenate(outputs,", "concatenate(outputs[::-1],", {"forward", "gradient"}),
    Bug("lengths ignored in the reverse direction", "stack", "jax_impl/stack", "array is not None else array", "array is not None and array.dtype != bool else array", {"forward", "gradient"}),
    Bug("projection's gradient dropped", "stack", "jax_impl/lstm", "h @ w.weight_hr.T", "h @ jax.lax.stop_gradient(w.weight_hr).T", {"gradient"}),
    Bug("frozen state not frozen", "stack", "jax_impl/ragged", "jax.tree.map(partial(jnp.where, valid), new, state)", "new", {"forward", "gradient"}),
    Bug("frozen c not frozen", "stack", "jax_impl/ragged", "jax.tree.map(partial(jnp.where, valid), new, state)", "(jnp.where(valid, new[0], state[0]), *new[1:])", {"forward", "gradient"}),
    Bug("dh and dc not handed on", "stack", "jax_impl/ragged", "jax.tree.map(partial(jnp.where, valid), new, state)", "jax.tree.map(partial(jnp.where, valid), new, jax.lax.stop_gradient(state))", {"gradient"}),
    Bug("da of a frozen step", "stack", "jax_impl/ragged", "jax.tree.map(partial(jnp.where, valid), new, state)", "jax.tree.map(lambda n, s: jnp.where(valid, n, s + n - jax.lax.stop_gradient(n)), new, state)", {"gradient"}),
    Bug("mask applied to the last layer", "stack", "torch_impl/stack", "level < spec.num_layers - 1:\n            y = trim(valid, y * masks.layers[level])", "True:\n            y = trim(valid, y * masks.layers[min(level, 1)])", {"forward", "gradient"}),
    Bug("frozen state not frozen", "stack", "torch_impl/ragged", "tuple(torch.where(valid[t], *parts) for parts in zip(new, state, strict=True))", "new", {"forward", "gradient"}),
    Bug("frozen c not frozen", "stack", "torch_impl/ragged", "tuple(torch.where(valid[t], *parts) for parts in zip(new, state, strict=True))", "(torch.where(valid[t], new[0], state[0]), *new[1:])", {"forward", "gradient"}),
    Bug("dh and dc not handed on", "stack", "torch_impl/ragged", "torch.where(valid[t], *parts) for", "torch.where(valid[t], parts[0], parts[1].detach()) for", {"gradient"}),
    Bug("da of a frozen step", "stack", "torch_impl/ragged", "torch.where(valid[t], *parts) for", "torch.where(valid[t], parts[0], parts[1] + parts[0] - parts[0].detach()) for", {"gradient"}),
    Bug("lower layers cut off", "stack", "torch_impl/stack", "trim(valid, y * masks.layers[level])", "trim(valid, y.detach() * masks.layers[level])", {"gradient"}),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.label)
def test_bug_is_caught(bug: Bug, plant: Callable[[str, str, str], Backend]) -> None:
    assert found_by(plant(bug.file, bug.old, bug.new), DRAWN.get(bug.on, bug.on)) == bug.caught_by


def test_a_gradient_wrong_by_a_thousandth_is_caught_in_float32_too(plant: Callable[[str, str, str], Backend]) -> None:
    mutant = plant("numpy_impl/lstm", "dweight_hh = da.T", "dweight_hh = 1.001 * da.T")
    assert found_by(mutant, "LSTM", "float32") >= {"complex step", "gradient", "loss"}


@pytest.mark.parametrize(
    "bug", {(bug.file, bug.on): bug for bug in BUGS}.values(), ids=lambda bug: f"{bug.file} {bug.on}"
)
def test_copy_without_a_bug_passes(bug: Bug, plant: Callable[[str, str, str], Backend]) -> None:
    """The control: the copy alone is not what the harness objects to."""
    assert found_by(plant(bug.file, bug.old, bug.old), DRAWN.get(bug.on, bug.on)) == set()


def test_the_stack_has_every_option() -> None:
    assert {*STACK.spec.options, "lengths"} == set(OPTIONS) - {
        "input_dropout",
        "recurrent_dropout",
        "mask",
        *OTHER_FORMS,
    }
    assert STACK.lengths
    assert sorted(STACK.lengths)[:2] == [0, 1]
    assert max(STACK.lengths) == STACK.steps


def test_a_failure_is_shrunk_to_the_options_and_sizes_that_it_needs(plant: Callable[[str, str, str], Backend]) -> None:
    """Not turning the valid steps with the others needs two directions, lengths, and two steps."""
    pair = {
        "numpy": registry.load("numpy"),
        "mutant": plant(
            "numpy_impl/stack",
            "array is not None else array",
            "array is not None and array.dtype != bool else array",
        ),
    }

    def fails(variant: Variant) -> bool:
        return any(row.verdict == "failed" for row in ladder.check_drawn(pair, variant))

    assert fails(STACK)
    small = shrink(STACK, fails)
    assert fails(small)
    wanted = ModelSpec(cell="LSTM", input_size=1, hidden_size=1, bidirectional=True)
    assert small.spec == wanted
    assert (small.steps, small.batch, small.lengths, small.given_state) == (2, 1, (1,), False)
