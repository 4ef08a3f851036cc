"""Ragged batches: sequences without a step, and padding that cannot matter; in the contract and in the modules."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from common.backend import registry
from common.backend.contract import Batch, Problem
from common.backend.guards import unsupported
from common.equivalence import ladder
from common.equivalence.shrinking import simplifications
from common.equivalence.variants import Variant, draw, random_problem
from common.errors import InvalidInput
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import CELLS, ModelSpec
from tests.backend.modules.calls import B, H, I, T, call, jax_results, loaded, problem, torch_results

OURS = ("numpy", "jax", "torch")
SIZES: dict[str, Any] = {"input_size": 3, "hidden_size": 5}
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dropout": 0.4}
SPECS = [
    *(ModelSpec(cell=cell, **SIZES) for cell in CELLS),
    *(ModelSpec(cell=cell, nonlinearity="relu", **SIZES) for cell in ("RNN", "RNNCell")),
    *(ModelSpec(cell=cell, reset_after=False, **SIZES) for cell in ("GRU", "GRUCell")),
    ModelSpec(cell="RNN", **SIZES, **DEEP),
    ModelSpec(cell="LSTM", proj_size=4, **SIZES, **DEEP),
]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
every_one = pytest.mark.parametrize("name", registry.DEFAULT)
every_own = pytest.mark.parametrize("name", OURS)


def is_able(name: str, spec: ModelSpec) -> bool:
    """Flax has no projection, and neither Flax nor torch.nn a GRU with reset before."""
    return not unsupported(registry.load(name), spec, called=["lengths"])


@pytest.mark.parametrize("given_state", [True, False])
@pytest.mark.parametrize("lengths", [(0, 4, 2), (0, 0, 0), (4, 4, 0)], ids=str)
@every_spec
def test_all_agree_on_sequences_without_a_step(spec: ModelSpec, lengths: tuple[int, ...], given_state: bool) -> None:
    variant = Variant(spec=spec, steps=4, batch=3, lengths=lengths, given_state=given_state)
    rows = ladder.check_drawn({name: registry.load(name) for name in registry.DEFAULT}, variant)
    assert {row.check for row in rows} == {"complex step", "forward", "gradient"}
    assert [row for row in rows if row.verdict == "failed"] == []
    able = [name for name in registry.DEFAULT if is_able(name, spec)]
    assert {*OURS} <= {*able}
    assert {name for row in rows for name in (row.a, row.b)} == {*able, "complex step", "exact"}


@every_spec
@every_one
def test_a_sequence_without_a_step_ends_where_it_began(name: str, spec: ModelSpec) -> None:
    """y = 0; its gradient reaches the initial state alone, and unchanged."""
    backend, lengths = registry.load(name), np.array([0, 4, 0])
    if not is_able(name, spec):
        return
    params, x, state0, dy, dstate, *_ = random_problem(spec, 4, 3, 0)
    assert state0 is not None
    y, state = backend.forward(spec, params, x, state0, lengths=lengths)
    grads = backend.vjp(spec, params, x, state0, dy, dstate, lengths=lengths)
    empty = lengths == 0
    assert not y[:, empty].any()
    assert not grads.x[:, empty].any()
    for before, after, dafter, dbefore in zip(state0, state, dstate, grads.state0, strict=True):
        np.testing.assert_array_equal(after[:, empty], before[:, empty])
        np.testing.assert_array_equal(dbefore[:, empty], dafter[:, empty])
        assert (after[:, 1] != before[:, 1]).any()
    none = backend.vjp(spec, params, x, state0, dy, dstate, lengths=0 * lengths)
    assert not any(grad.any() for grad in none.params.values())
    assert all(grad.any() for grad in grads.params.values())


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.num_blocks == 3], ids=lambda spec: spec.label)
@every_own
def test_what_a_step_makes_of_a_huge_state_in_the_padding_does_not_matter(name: str, spec: ModelSpec) -> None:
    """Its products with the weights overflow, and zero times infinity is not a number."""
    backend, lengths = registry.load(name), np.array([0, 4, 0])
    params, x, state0, dy, dstate, *_ = random_problem(spec, 4, 3, 0)
    assert state0 is not None
    big = {key: 50 * value for key, value in params.items()}
    huge = tuple(np.where(lengths[:, None] == 0, 1e308 * np.sign(part), part) for part in state0)
    _, state = backend.forward(spec, big, x, huge, lengths=lengths)
    grads = backend.vjp(spec, big, x, huge, dy, dstate, lengths=lengths)
    wanted = backend.vjp(spec, big, x, state0, dy, dstate, lengths=lengths)
    for before, after in zip(huge, state, strict=True):
        np.testing.assert_array_equal(after[:, lengths == 0], before[:, lengths == 0])
    assert all(grad.any() for grad in grads.params.values())
    for found, exact in zip(jax.tree.leaves(grads), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(found, exact)


def test_the_drawn_variants_have_sequences_without_a_step_and_lose_them_when_they_are_simplified() -> None:
    drawn = [draw(cell, "float64", seed, 1) for cell in CELLS for seed in range(20)]
    ragged = [variant for variant in drawn if variant.lengths]
    empty = [variant for variant in ragged if 0 in (variant.lengths or ())]
    assert len(ragged) / 5 < len(empty) < len(ragged)
    variant = replace(ragged[0], steps=3, batch=3, lengths=(0, 3, 2))
    assert (1, 3, 2) in {simpler.lengths for simpler in simplifications(variant)}
    assert all(0 not in (v.lengths or ()) for v in simplifications(replace(variant, lengths=(1, 3, 2))))


def relu(weight: float, steps: int) -> Problem:
    """One unit, x all 1: y of sequence 0 is read out, which has three steps; sequence 1 has them all."""
    params = {"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.full((1, 1), weight)}
    dy = np.zeros((steps, 2, 1))
    dy[:, 0] = 1
    return Problem(params, np.ones((steps, 2, 1)), None, dy, (np.zeros((1, 2, 1)),), np.array([3, steps]))


RELU = ModelSpec(cell="RNN", input_size=1, hidden_size=1, nonlinearity="relu", bias=False)


@every_own
def test_what_a_relu_does_in_the_padding_does_not_matter(name: str) -> None:
    """y = 1, 1 + w, 1 + w + w^2: the derivative of the sum by w is 2 + 2w, 6 for w = 2."""
    given = relu(2.0, 200)
    grads = registry.load(name).vjp(RELU, *given[:5], lengths=given.lengths)
    assert grads.params["weight_hh_l0"] == 6
    given = relu(1e200, 3)._replace(lengths=np.array([1, 0]))  # a second step overflows
    given.x[:] = 1e200
    y, (h_n,) = registry.load(name).forward(RELU, *given[:3], lengths=given.lengths)
    assert y[:, 0, 0].tolist() == [1e200, 0, 0]
    assert h_n[0, :, 0].tolist() == [1e200, 0]
    assert registry.load(name).vjp(RELU, *given[:5], lengths=given.lengths).params["weight_ih_l0"] == 1e200


def module_gradient(name: str, x: np.ndarray, lengths: np.ndarray, traced: bool = False) -> Any:
    """The derivatives of y of sequence 0, summed, by W_hh and by x, of the module with W_ih = 1 and W_hh = 2."""
    options = {"nonlinearity": "relu", "bias": False}
    params, dy = relu(2.0, len(x)).params, relu(2.0, len(x)).dy
    match name:
        case "numpy":
            import numpy_impl

            rnn = numpy_impl.RNN(1, 1, dtype="float64", **options)
            rnn.load_state_dict(params)
            rnn(x, lengths=lengths)
            dx, _ = rnn.backward(dy)
            return rnn.grads["weight_hh_l0"], dx
        case "jax":
            import jax_impl

            rnn = jax_impl.RNN(1, 1, dtype="float64", rngs=nnx.Rngs(0), **options)
            rnn.load_state_dict(params)

            def gradient(rnn: Any, x: Any, lengths: Any) -> Any:
                return nnx.grad(lambda rnn, x: (dy * rnn(x, lengths=lengths)[0]).sum(), argnums=(0, 1))(rnn, x)

            of_rnn, dx = (nnx.jit(gradient) if traced else gradient)(rnn, x, lengths)
            return of_rnn["weight_hh_l0"].get_value(), dx
    import torch_impl

    rnn, leaf = torch_impl.RNN(1, 1, dtype=torch.float64, **options), torch.tensor(x, requires_grad=True)
    rnn.load_state_dict({key: torch.tensor(value) for key, value in params.items()})
    (torch.tensor(dy) * rnn(leaf, lengths=lengths)[0]).sum().backward()
    return rnn.weight_hh_l0.grad, leaf.grad


@pytest.mark.parametrize("bad", [1.0, np.nan, np.inf, 1e308])
@pytest.mark.parametrize(("name", "traced"), [*((name, False) for name in OURS), ("jax", True)])
def test_nothing_in_the_padding_matters_to_a_module(name: str, traced: bool, bad: float) -> None:
    given = relu(2.0, 200)
    given.x[3:, 0] = bad
    with jax.enable_x64(True):
        of_weight, dx = module_gradient(name, given.x, np.array([3, 200]), traced)
    assert float(of_weight[0, 0]) == 6
    assert np.asarray(dx)[:4, 0, 0].tolist() == [7, 3, 1, 0]
    assert np.asarray(dx).sum() == 11


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_the_state_of_a_sequence_without_a_step_does_not_matter_to_the_weights(
    name: str, cell: str, bad: float
) -> None:
    inputs, cotangents = problem(cell, "float64")
    lengths = np.array([4, 0, 9, 2, 5])
    results = []
    for value in (0.5, bad):
        for part in inputs[1:]:
            part[:, 1] = value
        with jax.enable_x64(True):
            module = loaded(name, cell, "float64")
            found = (jax_results if name == "jax" else torch_results)(module, inputs, cotangents, lengths=lengths)
        results.append(found)
    for key in module.state_dict():
        np.testing.assert_array_equal(*(found[key] for found in results), err_msg=key)


@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
def test_traced_lengths_of_0_are_as_eager_ones(cell: str) -> None:
    options = {"num_layers": 2, "bidirectional": True}
    inputs, cotangents = problem(cell, **options)
    lengths = np.array([0, 9, 4, 0, 1])
    compiled, eager = (
        jax_results(loaded("jax", cell, **options), inputs, cotangents, transform, lengths=lengths)
        for transform in (nnx.jit, lambda function: function)
    )
    by_torch = torch_results(loaded("torch", cell, **options), inputs, cotangents, lengths=lengths)
    for name, value in eager.items():
        np.testing.assert_allclose(compiled[name], value, rtol=0, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(by_torch[name], value, rtol=0, atol=2e-5, err_msg=name)
    for part, state in enumerate(inputs[1:], start=1):
        np.testing.assert_array_equal(compiled[f"output {part}"][:, [0, 3]], state[:, [0, 3]])
        wanted = cotangents[part][:, [0, 3]]
        np.testing.assert_array_equal(compiled[f"gradient of input {part}"][:, [0, 3]], wanted)
    assert not compiled["output 0"][:, [0, 3]].any()


@pytest.mark.parametrize("wrong", [-1, T + 1, 200 * T])
@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
def test_a_traced_length_that_is_none_makes_no_number(cell: str, wrong: int) -> None:
    """Its y, final state and gradients are NaN, and those of the weights, which are sums; not those of the others."""
    inputs, cotangents = problem(cell)
    lengths = np.array([2, wrong, 4, T, 0])
    found = jax_results(loaded("jax", cell), inputs, cotangents, lengths=lengths)
    good = jax_results(loaded("jax", cell), inputs, cotangents, lengths=np.where(lengths == wrong, 3, lengths))
    for key, value in found.items():
        if key.startswith(("output", "gradient")):
            assert np.isnan(value[:, 1]).all(), key
            rest = [0, 2, 3, 4]
            np.testing.assert_allclose(value[:, rest], good[key][:, rest], rtol=0, atol=1e-6, err_msg=key)
        else:
            assert np.isnan(value).all(), key


def test_traced_lengths_of_any_width_are_compared_with_T() -> None:
    module, x = loaded("jax", "RNN"), problem("RNN")[0][0]
    compiled = jax.jit(lambda x, lengths: call(module, x, lengths=lengths)[0])
    for dtype in ("int8", "uint8", "int32", "uint32"):
        y = compiled(jnp.tile(x, (16, 1, 1)), np.array([3, 0, 127, 1, 9], dtype))  # 144 steps, more than int8 can hold
        assert np.isfinite(y).all()
        reference = call(module, jnp.tile(x, (16, 1, 1)), lengths=np.array([3, 0, 127, 1, 9]))[0]
        np.testing.assert_allclose(y, reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("readout", ["last_step", "final_state", "every_step", "encoder_decoder"])
@pytest.mark.parametrize("name", OURS)
def test_a_network_predicts_and_trains_on_sequences_without_a_step(name: str, readout: str) -> None:
    """The first sequence has none: what is read out of it is the bias, and it teaches the recurrent layers nothing."""
    loss = "cross_entropy" if readout == "encoder_decoder" else "mse"
    symbols: dict[str, Any] = {"inputs": "one_hot", "vocabulary": I} if loss == "cross_entropy" else {}
    model = ModelSpec(cell="LSTM", input_size=I, hidden_size=H)
    network = NetworkSpec(model=model, readout_size=2, readout=readout, loss=loss, **symbols)
    rng, steps = np.random.default_rng(0), 4
    rows = {"every_step": (steps, 2), "encoder_decoder": (3, 2)}.get(readout, (2,))
    x = rng.integers(I, size=(steps, 2)) if symbols else rng.standard_normal((steps, 2, I))
    target = rng.integers(2, size=rows) if symbols else rng.standard_normal((*rows, 2))
    decoder_x = rng.integers(2, size=rows) if symbols else None
    batch = Batch(x, target, lengths=np.array([0, 3]), decoder_x=decoder_x)
    params, backend = initial_network(network, 0), registry.load(name)
    prediction, _ = backend.predict(network, params, batch)
    trainer = backend.trainer(RunSpec(network=network, optimizer=OptimizerSpec()), params)
    value, grads = trainer.gradients(batch)
    assert np.isfinite([trainer.step(batch), value]).all()
    if readout != "encoder_decoder":
        empty = prediction[0] if readout != "every_step" else prediction[:, 0]
        np.testing.assert_array_equal(empty, np.broadcast_to(params["readout.bias"], empty.shape))
        none = batch._replace(lengths=np.array([0, 0]))
        if readout == "every_step":
            message = r"^lengths: expected at least one step whose target counts, got 0 everywhere$"
            for method in (trainer.step, trainer.gradients, trainer.evaluate):
                with pytest.raises(InvalidInput, match=message):
                    method(none)
        else:
            _, grads = trainer.gradients(none)
            assert not any(grad.any() for key, grad in grads.items() if key.startswith("rnn."))
    assert any(grad.any() for key, grad in grads.items())


def test_numpy_takes_a_batch_without_a_step() -> None:
    x, h, c = problem("LSTM")[0]
    module = loaded("numpy", "LSTM")
    y, h_n, c_n = call(module, x, h, c, lengths=np.zeros(B, int))
    assert not y.any()
    assert np.array_equal(h_n, h)
    assert np.array_equal(c_n, c)
    dx, (dh, dc) = module.backward(np.ones_like(y), (2 * h, 3 * c))
    assert not dx.any()
    assert np.array_equal(dh, 2 * h)
    assert np.array_equal(dc, 3 * c)
    assert not any(grad.any() for grad in module.grads.values())
