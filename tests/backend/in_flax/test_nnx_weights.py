"""Parameters from nnx's own cells and to them, alone, in ``nnx.RNN`` and in ``nnx.Bidirectional``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jax_impl
from common.conversions.layers import GRU_NOTE, ONE_BIAS_NOTE
from common.conversions.notes import merged_note
from common.errors import InvalidInput, InvalidType
from tests.backend.modules.calls import B, H, I, build, loaded, problem

pytestmark = pytest.mark.usefixtures("compile_quickly")
# nnx's cell, its options, and our layer with its equations.
KINDS: list[tuple[Any, dict[str, Any], str]] = [
    (nnx.SimpleCell, {}, "RNN"),
    (nnx.SimpleCell, {"activation_fn": nnx.relu}, "RNN"),
    (nnx.LSTMCell, {}, "LSTM"),
    (nnx.OptimizedLSTMCell, {}, "LSTM"),
    (nnx.GRUCell, {}, "GRU"),
]
every_kind = pytest.mark.parametrize(
    ("kind", "options", "layer"),
    [pytest.param(*one, id=f"{one[0].__name__} {' '.join(one[1])}".strip()) for one in KINDS],
)


def theirs(kind: Any, form: str, seed: int = 0, **options: Any) -> Any:
    """An nnx module in which no bias is zero."""
    cells = [kind(I, H, rngs=nnx.Rngs(part), **options) for part in (0, 1)]
    cells[0] = cells[0] if form == "cell" else nnx.RNN(cells[0], time_major=True)
    module = nnx.Bidirectional(cells[0], nnx.RNN(cells[1]), time_major=True) if form == "bidirectional" else cells[0]
    rng = np.random.default_rng(seed)
    state = nnx.state(module, nnx.Param)
    nnx.update(module, jax.tree.map(lambda leaf: jnp.array(0.5 * rng.normal(size=leaf.shape), leaf.dtype), state))
    return module


def outputs(module: Any, form: str) -> list[Any]:
    """y of a sequence, or the state after a step, h first; from a state that is not zero."""
    flax = not isinstance(module, jax_impl.RNN | jax_impl.LSTM | jax_impl.GRU | jax_impl.LSTM1997)
    states = 2 if "LSTM" in str(nnx.graphdef(module)) else 1
    parts = [jnp.array(part) for part in np.random.default_rng(7).normal(size=(states, B, H)).astype("float32")]
    x = jnp.array(problem("RNNCell" if form == "cell" else "RNN")[0][0])
    if form != "cell":
        return [module(x) if flax else module(x)[0]]
    if isinstance(module, nnx.RNNCellBase):
        carry, y = module(tuple(parts[::-1]) if states == 2 else parts[0], x)
        return [y, *(carry[:1] if states == 2 else ())]
    return jax.tree.leaves(module(x, tuple(parts) if states == 2 else parts[0]))


def equal(one: Any, other: Any, form: str) -> None:
    for a, b in zip(outputs(one, form), outputs(other, form), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
        assert np.ptp(b) > 0.1


@every_kind
def test_a_module_of_nnx_becomes_one_of_ours_and_ours_becomes_one_of_nnx(kind: Any, options: Any, layer: str) -> None:
    for form, biases in (("cell", (True, False)), ("bidirectional", (True,))):
        source = theirs(kind, form, **options)
        ours = jax_impl.from_nnx(source)
        assert type(ours).__name__ == (f"{layer}Cell" if form == "cell" else layer)
        equal(ours, source, form)
        given: dict[str, Any] = {"nonlinearity": "relu"} if options else {}
        given |= {"bidirectional": True} if form == "bidirectional" else {}
        for bias in biases:
            back = loaded("jax", type(ours).__name__, bias=bias, **given)
            if bias and layer == "GRU":
                for name in set(back.state_dict()) & {"bias_hh", "bias_hh_l0", "bias_hh_l0_reverse"}:
                    param = getattr(back, name)
                    param.set_value(param.get_value().at[2 * H :].set(0))
            target = theirs(kind, form, seed=1, **options)
            state, note = jax_impl.to_nnx(back, target)
            merged = GRU_NOTE if layer == "GRU" else ONE_BIAS_NOTE
            assert note == merged if bias else note.endswith("zeros were added")
            assert nnx.to_pure_dict(nnx.state(target, nnx.Param)).keys() == state.keys()
            nnx.update(target, state)
            equal(target, back, form)


def test_an_lstm_of_1997_becomes_an_lstm_of_nnx_with_an_open_forget_gate() -> None:
    for form, cell in (("cell", "LSTM1997Cell"), ("rnn", "LSTM1997")):
        ours, target = loaded("jax", cell), theirs(nnx.OptimizedLSTMCell, form)
        state, note = jax_impl.to_nnx(ours, target)
        merged = merged_note("i", "g", "o")  # the biases of the open gate are a number and a zero
        assert note == f"the forget gate is held open, by a bias; {merged}"
        nnx.update(target, state)
        equal(target, ours, form)


def test_dtypes_and_axes_are_kept() -> None:
    cell = nnx.OptimizedLSTMCell(I, H, rngs=nnx.Rngs(0))
    for source, batch_first in ((nnx.RNN(cell), True), (nnx.RNN(cell, time_major=True), False)):
        assert jax_impl.from_nnx(source).batch_first is batch_first
    nnx.update(cell, jax.tree.map(lambda leaf: leaf.astype("bfloat16"), nnx.state(cell)))
    half = jax_impl.from_nnx(cell)
    assert half.param_dtype == jnp.bfloat16
    wide, narrow = build("jax", "LSTMCell"), build("jax", "LSTMCell", dtype="bfloat16")
    state, _ = jax_impl.to_nnx(narrow, theirs(nnx.LSTMCell, "cell"))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32"}
    with pytest.raises(InvalidType, match=r"^dtype: expected .* bfloat16, got float32; float32 can round in bfloat16"):
        jax_impl.to_nnx(wide, cell)


def test_what_another_module_does_not_compute_is_refused() -> None:
    def simple(**options: Any) -> Any:
        return nnx.SimpleCell(I, H, rngs=nnx.Rngs(0), **options)

    def lstm(size: int = H, **options: Any) -> Any:
        return nnx.LSTMCell(I, size, rngs=nnx.Rngs(0), **options)

    def gru(**options: Any) -> Any:
        return build("jax", "GRUCell", **options)

    rnn: Any = nnx.RNN(lstm())
    both = nnx.Bidirectional(nnx.RNN(lstm()), nnx.RNN(lstm(H + 1)))
    added: Any = nnx.Bidirectional(nnx.RNN(lstm()), nnx.RNN(lstm()), merge_fn=jnp.add)
    odd: Any = nnx.Bidirectional(nnx.RNN(lstm()), nnx.RNN(lstm()))
    odd.backward_rnn = nnx.Linear(I, H, rngs=nnx.Rngs(0))
    theirs_gru = nnx.GRUCell(I, H, rngs=nnx.Rngs(0))
    ours, two = build("jax", "LSTM"), build("jax", "LSTM", num_layers=2)
    for source, message in (
        (simple(residual=True), r"^residual of nnx.SimpleCell: expected False, got True; no module of ours"),
        (simple(activation_fn=nnx.gelu), r"^activation_fn of nnx.SimpleCell: expected tanh or .*relu, got gelu; "),
        (lstm(gate_fn=nnx.hard_sigmoid), r"^gate_fn of nnx.LSTMCell: expected sigmoid or .*, got hard_sigmoid; "),
        (lstm(activation_fn=nnx.relu), r"^activation_fn of nnx.LSTMCell: expected tanh"),
        (lstm(promote_dtype=lambda *_, **__: None), r"^promote_dtype of nnx.LSTMCell: expected promote_dtype, got"),
        (lstm(dtype="bfloat16"), r"^dtype: expected None or float32, that of the parameters, got bfloat16; "),
        (nnx.RNN(lstm(), reverse=True), r"^reverse of nnx.RNN: expected False, got True"),
        (added, r"^merge_fn of nnx.Bidirectional: expected _concatenate, got "),
        (odd, r"^a direction of nnx.Bidirectional: expected an nnx.RNN, got Linear$"),
        (both, r"^the second cell of nnx.Bidirectional: expected .*'hidden_size': 7.*, got .*'hidden_size': 8"),
        (nnx.Linear(I, H, rngs=nnx.Rngs(0)), r"^cell: expected one of nnx.SimpleCell, .*, got Linear$"),
    ):
        with pytest.raises((InvalidInput, InvalidType), match=message):
            jax_impl.from_nnx(source)
    for module, target, message in (
        (ours, nnx.RNN(lstm(H + 1)), r"^hidden_size: expected 8, as nnx.RNN has it, got 7$"),
        (ours, lstm(), r"^cell: expected 'LSTMCell', as nnx.LSTMCell has it, got 'LSTM'$"),
        (build("jax", "LSTM1997"), lstm(), r"^cell: expected 'LSTMCell', .*, got 'LSTM1997'$"),
        (build("jax", "RNN"), rnn, r"^cell: expected 'LSTM', as nnx.RNN has it, got 'RNN'$"),
        (two, rnn, r"^num_layers: expected 1, as nnx.RNN has it, got 2$"),
        (build("jax", "RNNCell", nonlinearity="relu"), simple(), r"^nonlinearity: expected 'tanh', .*, got 'relu'$"),
        (build("jax", "LSTM", proj_size=2), rnn, r"^proj_size: expected 0, as nnx.RNN has it, got 2$"),
        (build("jax", "LSTM", bidirectional=True), rnn, r"^bidirectional: expected False, .*, got True$"),
        (gru(), theirs_gru, r"^bias_hh of the candidate: expected zeros, got values up to 0\.\d+; nnx.GRUCell has no"),
        (gru(bias=False, reset_after=False), theirs_gru, r"^reset_after: expected True, .*, got False$"),
        (ours, rnn, r"^time_major of nnx.RNN: expected True, as batch_first is False, got False; "),
        (rnn, rnn, r"^module: expected a module of jax_impl, got RNN$"),
    ):
        with pytest.raises((InvalidInput, InvalidType), match=message):
            jax_impl.to_nnx(module, target)


def test_conversions_are_traced_and_differentiated_through() -> None:
    """A gradient of nnx's numbers with respect to our parameters."""
    ours, target = loaded("jax", "LSTM"), nnx.RNN(nnx.LSTMCell(I, H, rngs=nnx.Rngs(0)), time_major=True)
    x = jnp.array(problem("LSTM")[0][0])

    def loss(ours: Any, target: Any) -> Any:
        nnx.update(target, jax_impl.to_nnx(ours, target).params)
        return jnp.square(target(x)).sum()

    found = nnx.jit(nnx.grad(loss))(ours, target)
    wanted = nnx.grad(lambda ours: jnp.square(ours(x)[0]).sum())(ours)
    for name in ours.state_dict():
        np.testing.assert_allclose(found[name].get_value(), wanted[name].get_value(), atol=2e-5)
