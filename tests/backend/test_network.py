"""Loss and gradient of every kind of network: against naive loops, finite differences, autograd, and one another."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import exp, log
from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Batch
from common.backend.guards import require_batch, rows_shape, zero_state
from common.model.initial import initial_network
from common.model.layout import Parameters
from common.model.network import INPUTS, LOSSES, READOUTS, NetworkSpec
from common.model.spec import ModelSpec
from numpy_impl import embedding
from numpy_impl import network as by_hand
from tests.backend.networks import LENGTHS, B, H, I, O, S, T, label, networks, random_batch, trainer

NETWORKS = list(networks())
every_network = pytest.mark.parametrize("network", NETWORKS, ids=label)
every_backend = pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
CASES = [(n, ragged) for n in NETWORKS for ragged in (False, True) if not ragged or n.readout != "last_sequence"]
every_case = pytest.mark.parametrize(
    ("network", "ragged"), CASES, ids=lambda v: label(v) if isinstance(v, NetworkSpec) else "ragged" if v else "whole"
)


def compiled() -> Iterator[tuple[NetworkSpec, bool]]:
    """JAX compiles each again: one of each readout, loss and kind of inputs, and all with a decoder."""
    for number, kind in enumerate(product(READOUTS, LOSSES, INPUTS)):
        own = [case for case in CASES if (case[0].readout, case[0].loss, case[0].inputs) == kind]
        place = (0, 3, 2, 1, 1, 2)[number % 6] * len(own) // 4
        yield from own if kind[0] == "encoder_decoder" else own[place : place + 1]


COMPILED = list(compiled())


def test_the_cases_cover_every_pair_of_options() -> None:
    for cases in (CASES, COMPILED):
        for readout in READOUTS:
            own = [(network, ragged) for network, ragged in cases if network.readout == readout]
            assert {network.model.cell for network, _ in own} == {"RNN", "LSTM"}
            assert {ragged for _, ragged in own} == ({False} if readout == "last_sequence" else {False, True})
            assert {network.model.num_layers for network, _ in own} == {1, 2}
            assert {n.model.bidirectional for n, _ in own} == (
                {False} if readout == "encoder_decoder" else {False, True}
            )
            assert {(network.loss, network.inputs) for network, _ in own} == {
                (loss, inputs)
                for loss, inputs in product(LOSSES, INPUTS)
                if readout != "encoder_decoder" or (loss == "cross_entropy" and inputs != "features")
            }


@every_case
def test_the_gradient_is_that_of_finite_differences_and_of_torch(network: NetworkSpec, ragged: bool) -> None:
    """Of each parameter along a direction of its own, so that none can hide behind another."""
    batch, params, step = random_batch(network, ragged), initial_network(network, 1), 1e-5
    require_batch(network, batch)
    loss, grads = trainer("numpy", network).gradients(batch)
    rng = np.random.default_rng(2)
    for name, value in params.items():
        along = rng.standard_normal(value.shape)
        ends = [params | {name: value + sign * step * along} for sign in (1, -1)]
        up, down = (trainer("numpy", network, end).evaluate(batch)[0] for end in ends)
        assert (up - down) / (2 * step) == pytest.approx((grads[name] * along).sum(), rel=1e-6, abs=1e-9), name
        unused = network.readout == "last_step" and name == f"rnn.weight_hh_l{network.model.num_layers - 1}_reverse"
        assert (abs(grads[name]).max() > 1e-5) != unused, name
    theirs, expected = trainer("torch", network).gradients(batch)
    assert loss == pytest.approx(theirs, rel=1e-13)
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected[name], rtol=0, atol=1e-14, err_msg=name)


@pytest.mark.parametrize(
    ("network", "ragged"), COMPILED, ids=lambda v: label(v) if isinstance(v, NetworkSpec) else str(v)
)
def test_jax_has_the_same_loss_and_gradient(network: NetworkSpec, ragged: bool) -> None:
    batch = random_batch(network, ragged)
    (loss, grads), (theirs, expected) = (trainer(name, network).gradients(batch) for name in ("numpy", "jax"))
    assert loss == pytest.approx(theirs, rel=1e-13)
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected[name], rtol=0, atol=1e-14, err_msg=name)


def naive_loss(network: NetworkSpec, prediction: np.ndarray, batch: Batch) -> float:
    """One number at a time."""
    found = []
    for index in np.ndindex(prediction.shape[:-1]):
        row = prediction[index].tolist()
        if network.loss == "cross_entropy":
            if batch.target[index] >= 0:
                found.append(log(sum(exp(p) for p in row)) - row[batch.target[index]])
        elif network.readout != "every_step" or batch.lengths is None or index[0] < batch.lengths[index[1]]:
            found += [(p - q) ** 2 for p, q in zip(row, batch.target[index].tolist(), strict=True)]
    return sum(found) / len(found)


def naive_prediction(network: NetworkSpec, params: Parameters, batch: Batch) -> np.ndarray:
    """Sequence by sequence, each alone and in its own length, with NumPy's recurrent layers."""
    backend, columns = registry.load("numpy"), []

    def own(prefix: str) -> Parameters:
        return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}

    def vectors(symbols: np.ndarray, table: str, size: int) -> np.ndarray:
        rows = params.get(table, np.eye(size))
        return np.array([[rows[symbol]] for symbol in symbols])

    given: Any = batch
    for n in range(B):
        length = T if batch.lengths is None else batch.lengths[n]
        x = batch.x[:length, n]
        if length:
            x = x[:, None] if network.vocabulary is None else vectors(x, "embedding.weight", I)
        masks = None if given.masks is None else given.masks.layers[:, :length, [n]]
        y, state = np.zeros((0, 1, network.model.output_size)), zero_state(network.model, 1)
        if length:
            y, state = backend.forward(network.model, own("rnn."), x, masks=masks)
        if batch.decoder_x is not None:
            x = vectors(batch.decoder_x[:, n], "decoder_embedding.weight", network.readout_size)
            masks = None if given.decoder_masks is None else given.decoder_masks.layers[:, :, [n]]
            y, _ = backend.forward(network.decoder, own("decoder."), x, state, masks=masks)
        last = state[0][-network.model.num_directions :].ravel()
        padded = np.concatenate([y[:, 0], np.zeros((T - len(y), y.shape[2]))]) if len(y) < T else y[:, 0]
        columns.append({"last_step": padded[length - 1], "final_state": last}.get(network.readout, padded))
    z = np.stack(columns, axis=columns[0].ndim - 1)
    z = z[:, -1] if network.readout == "last_sequence" else z
    return z @ params["readout.weight"].T + params["readout.bias"]


@every_case
def test_prediction_and_loss_are_those_of_naive_loops(network: NetworkSpec, ragged: bool) -> None:
    batch, params = random_batch(network, ragged), initial_network(network, 1)
    expected = naive_prediction(network, params, batch)
    assert expected.shape == (*rows_shape(network, batch), network.readout_size)
    for name in ("numpy", "torch"):
        loss, prediction = trainer(name, network).evaluate(batch)
        np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-14)
        assert loss == pytest.approx(naive_loss(network, expected, batch), rel=1e-13)


def results(name: str, network: NetworkSpec, batch: Batch) -> dict[str, Any]:
    loss, grads = trainer(name, network).gradients(batch)
    return {"loss": loss} | grads


RAGGED = [n for n in NETWORKS if n.readout != "last_sequence" and n.model.cell == "LSTM" and n.model.num_layers == 2]


@pytest.mark.parametrize("network", RAGGED, ids=label)
def test_the_padding_has_no_influence(network: NetworkSpec) -> None:
    batch = random_batch(network, ragged=True)
    padding = np.arange(T)[:, None] >= LENGTHS
    other, x, target = random_batch(network, ragged=True, seed=3), batch.x.copy(), batch.target.copy()
    x[padding] = other.x[padding]
    if network.readout == "every_step" and network.loss == "mse":
        target[padding] = 1e6
    assert not np.array_equal(x, batch.x)
    for name in ("numpy", "torch"):
        expected, found = (results(name, network, b) for b in (batch, batch._replace(x=x, target=target)))
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-15, err_msg=key)


IGNORED = [
    replace(n, model=replace(n.model, bidirectional=False))
    for n in NETWORKS
    if n.readout in ("every_step", "encoder_decoder") and n.loss == "cross_entropy"
]


@pytest.mark.parametrize("network", IGNORED, ids=label)
def test_steps_before_targets_that_do_not_count_have_no_influence(network: NetworkSpec) -> None:
    """The last two steps lead to no target: they might as well have been left out, and their input does not matter."""
    batch, other = (
        random_batch(network, ragged=False, seed=seed)._replace(decoder_masks=None, masks=None) for seed in (0, 3)
    )
    batch.target[-2:] = -1
    if network.has_decoder:
        assert batch.decoder_x is not None
        assert other.decoder_x is not None
        changed = batch._replace(decoder_x=np.concatenate([batch.decoder_x[:-2], other.decoder_x[-2:]]))
        short = batch._replace(decoder_x=batch.decoder_x[:-2], target=batch.target[:-2])
    else:
        changed = batch._replace(x=np.concatenate([batch.x[:-2], other.x[-2:]]))
        short = batch._replace(x=batch.x[:-2], target=batch.target[:-2])
    for name in ("numpy", "torch"):
        expected = results(name, network, batch)
        for without in (changed, short):
            found = results(name, network, without)
            for key, value in expected.items():
                np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-15, err_msg=key)


def test_the_gradients_of_a_symbol_that_occurs_again_add_up() -> None:
    rng = np.random.default_rng(0)
    x, dvectors = np.array([[2, 0, 2], [2, 4, 0]]), rng.standard_normal((2, 3, I))
    table = rng.standard_normal((6, I))
    expected = np.zeros((6, I))
    for t, n in np.ndindex(2, 3):
        expected[x[t, n]] += dvectors[t, n]
    np.testing.assert_allclose(embedding.backward({"weight": table}, x, dvectors)["weight"], expected, atol=1e-15)
    assert not expected[[1, 3, 5]].any()


@every_backend
def test_one_row_of_a_table_has_the_gradient_of_all_its_vectors(name: str) -> None:
    """Against a network that is given the vectors: there each occurrence has a gradient of its own."""
    model = ModelSpec(cell="LSTM", input_size=I, hidden_size=H)
    network = NetworkSpec(model=model, readout_size=O, inputs="embedding", vocabulary=S)
    batch = random_batch(network, ragged=False)._replace(x=np.array([[2, 2, 0, 5], [2, 4, 0, 5], [4, 2, 2, 1]]))
    params = initial_network(network, 1)
    _, grads = trainer(name, network).gradients(batch)
    plain = replace(network, inputs="features", vocabulary=None)
    own = {key: value for key, value in params.items() if not key.startswith("embedding")}
    given = batch._replace(x=params["embedding.weight"][batch.x])
    step, expected = 1e-5, np.zeros((S, I))
    for index in np.ndindex(given.x.shape):
        moved = np.zeros_like(given.x)
        moved[index] = step
        up, down = (trainer("numpy", plain, own).evaluate(given._replace(x=given.x + s * moved))[0] for s in (1, -1))
        expected[batch.x[index[:2]], index[2]] += (up - down) / (2 * step)
    np.testing.assert_allclose(grads["embedding.weight"], expected, rtol=0, atol=1e-10)
    assert abs(expected[[0, 1, 2, 4, 5]]).min() > 1e-6
    assert not grads["embedding.weight"][[3, 6]].any()


def test_the_cross_entropy_of_huge_numbers_is_finite() -> None:
    prediction, target = np.array([[1e4, 0.0, -1e4], [5.0, 1e5, 7.0]]), np.array([1, 1])
    spec = NetworkSpec(model=ModelSpec(cell="RNN", input_size=I, hidden_size=H), readout_size=3, loss="cross_entropy")
    loss, gradient = by_hand.loss(spec, prediction, Batch(np.zeros((T, 2, I)), target))
    assert loss == 5e3
    np.testing.assert_array_equal(gradient, [[0.5, -0.5, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
@every_backend
def test_symbols_may_have_any_integer_type(name: str, dtype: str) -> None:
    model = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
    network = NetworkSpec(
        model=model, readout_size=5, readout="final_state", loss="cross_entropy", inputs="embedding", vocabulary=S
    )
    batch = random_batch(network, ragged=True)
    batch = batch._replace(target=np.maximum(batch.target, 0))
    narrow = batch._replace(x=batch.x.astype(dtype), target=batch.target.astype(dtype), lengths=LENGTHS.astype(dtype))
    for one, other in zip(trainer(name, network).evaluate(batch), trainer(name, network).evaluate(narrow), strict=True):
        np.testing.assert_array_equal(one, other)
