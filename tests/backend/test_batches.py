"""Batches: wrong ones are refused by name; cutting loses no sequence and keeps all that belongs to it together."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from common.backend.contract import Batch
from common.backend.guards import require_batch, require_inputs
from common.errors import InvalidInput, InvalidType
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec
from common.training.batching import minibatches, pieces, take, with_masks

T, B, I, H, O, S, D = 5, 4, 3, 7, 2, 6, 8  # D steps of a decoder, S symbols
MODEL = ModelSpec(cell="RNN", input_size=I, hidden_size=H, num_layers=2, dropout=0.5)
SYMBOLS: dict[str, Any] = {"inputs": "embedding", "vocabulary": S, "loss": "cross_entropy"}
NETWORKS = {
    "features": NetworkSpec(model=MODEL, readout_size=O),
    "one layer": NetworkSpec(model=ModelSpec(cell="RNN", input_size=I, hidden_size=H), readout_size=O),
    "last_sequence": NetworkSpec(model=MODEL, readout_size=O, readout="last_sequence"),
    "every_step mse": NetworkSpec(model=MODEL, readout_size=O, readout="every_step"),
    "one_hot": NetworkSpec(model=MODEL, readout_size=O, inputs="one_hot", vocabulary=I),
    "final_state": NetworkSpec(model=MODEL, readout_size=O, readout="final_state", **SYMBOLS),
    "every_step": NetworkSpec(model=MODEL, readout_size=O, readout="every_step", **SYMBOLS),
    "decoder": NetworkSpec(model=MODEL, readout_size=O, readout="encoder_decoder", **SYMBOLS),
}
ROWS = {"last_sequence": (T,), "every_step": (T, B), "encoder_decoder": (D, B)}


def good(name: str) -> Batch:
    """A batch with everything that a network can have."""
    network, rng = NETWORKS[name], np.random.default_rng(0)
    rows = ROWS.get(network.readout, (B,))
    symbols, decodes = network.inputs != "features", network.has_decoder
    return Batch(
        x=rng.integers(network.vocabulary or 0, size=(T, B)) if symbols else rng.standard_normal((T, B, I)),
        target=rng.integers(-1, O, size=rows) if network.loss != "mse" else rng.standard_normal((*rows, O)),
        masks=None if network.model.num_layers == 1 else rng.standard_normal((1, T, B, H)),
        lengths=None if network.readout == "last_sequence" else np.array([1, T, 2, 3]),
        decoder_x=rng.integers(O, size=(D, B)) if decodes else None,
        decoder_masks=rng.standard_normal((1, D, B, H)) if decodes else None,
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_right_batch_is_accepted(name: str) -> None:
    batch = good(name)
    require_batch(NETWORKS[name], batch)
    bare = batch._replace(masks=None, lengths=None, decoder_masks=None)
    require_batch(NETWORKS[name], bare)
    require_inputs(NETWORKS[name], bare._replace(target=np.zeros(0)))


class Wrong(NamedTuple):
    """The network, the field, what is done to a good one, the exception, and its whole message."""

    network: str
    field: str
    change: Callable[[Any], Any]
    error: type[Exception]
    message: str


def poked(value: int) -> Callable[[np.ndarray], np.ndarray]:
    """The same array with another value somewhere in its middle."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[2] = value
        return array

    return change


NUMBERS = "integers, the numbers of symbols, got"
SHAPE = "symbols (T, B), at least one of each, got shape"
MASKS = "masks: expected (1, 5, 4, 7) for RNN 2 layers, (L-1, T, B, D*H), got"
TARGET = "target: expected (4, 2) for the readout last_step, got"
SEQUENCE = "target: expected (5, 2) for the readout last_sequence, got"
WRONG_INPUTS = [
    Wrong("features", "x", lambda x: x[0], InvalidInput, "x: expected 3 axes (T, B, I), got 2 of shape (4, 3)"),
    Wrong(
        "features", "x", lambda x: x.astype(int), InvalidType, "x: expected float64 for RNN(input_size=3), got int64"
    ),
    *(
        wrong
        for name in ("one_hot", "final_state", "decoder")
        for wrong in (
            Wrong(name, "x", list, InvalidType, "x: expected a numpy.ndarray, got list"),
            Wrong(name, "x", np.float64, InvalidType, f"x: expected {NUMBERS} float64"),
            Wrong(name, "x", lambda x: x > 1, InvalidType, f"x: expected {NUMBERS} bool"),
            Wrong(name, "x", lambda x: x[0], InvalidInput, f"x: expected {SHAPE} (4,)"),
            Wrong(name, "x", lambda x: x[..., None], InvalidInput, f"x: expected {SHAPE} (5, 4, 1)"),
            Wrong(name, "x", lambda x: x[:0], InvalidInput, f"x: expected {SHAPE} (0, 4)"),
            Wrong(name, "x", lambda x: x[:, :0], InvalidInput, f"x: expected {SHAPE} (5, 0)"),
            Wrong(
                name,
                "x",
                poked(-1),
                InvalidInput,
                f"x: expected numbers from 0 to {2 if name == 'one_hot' else 5}, got -1",
            ),
        )
    ),
    Wrong("one_hot", "x", poked(3), InvalidInput, "x: expected numbers from 0 to 2, got 3"),
    Wrong("final_state", "x", poked(6), InvalidInput, "x: expected numbers from 0 to 5, got 6"),
    Wrong("final_state", "lengths", list, InvalidType, "lengths: expected a numpy.ndarray, got list"),
    Wrong("decoder", "lengths", lambda n: n + 1, InvalidInput, "lengths: expected 0 to 5 steps, got 6 at index 1"),
    Wrong(
        "every_step",
        "lengths",
        lambda n: n[1:],
        InvalidInput,
        "lengths: expected (4,), one for each sequence, got (3,)",
    ),
    Wrong(
        "last_sequence",
        "lengths",
        lambda _: np.array([1, 2, 3, 4]),
        InvalidInput,
        "lengths: expected None for last_sequence, whose steps are examples, got lengths",
    ),
    Wrong("final_state", "masks", lambda m: m[0], InvalidInput, f"{MASKS} (5, 4, 7); an axis too many or too few?"),
    Wrong("decoder", "masks", lambda m: m[:, 1:], InvalidInput, f"{MASKS} (1, 4, 4, 7)"),
    Wrong(
        "one layer",
        "masks",
        lambda _: np.ones((1, T, B, H)),
        InvalidInput,
        "masks: expected None with num_layers=1, as the last layer has no dropout, got masks",
    ),
    Wrong(
        "decoder",
        "decoder_x",
        lambda _: None,
        InvalidInput,
        "decoder_x for the readout encoder_decoder: expected symbols (T', B), got None",
    ),
    Wrong(
        "every_step",
        "decoder_x",
        lambda _: np.zeros((D, B), int),
        InvalidInput,
        "decoder_x for the readout every_step: expected None, got an array",
    ),
    Wrong("decoder", "decoder_x", np.float64, InvalidType, f"decoder_x: expected {NUMBERS} float64"),
    Wrong("decoder", "decoder_x", lambda x: x[0], InvalidInput, f"decoder_x: expected {SHAPE} (4,)"),
    Wrong("decoder", "decoder_x", lambda x: x[:0], InvalidInput, f"decoder_x: expected {SHAPE} (0, 4)"),
    Wrong("decoder", "decoder_x", poked(2), InvalidInput, "decoder_x: expected numbers from 0 to 1, got 2"),
    Wrong("decoder", "decoder_x", poked(-1), InvalidInput, "decoder_x: expected numbers from 0 to 1, got -1"),
    Wrong("decoder", "decoder_x", lambda x: x[:, 1:], InvalidInput, "decoder_x: expected 4 sequences, as in x, got 3"),
    Wrong(
        "decoder", "decoder_masks", lambda m: m[:, 1:], InvalidInput, f"{MASKS.replace('5, 4', '8, 4')} (1, 7, 4, 7)"
    ),
]
WRONG_TARGETS = [
    Wrong("features", "target", np.transpose, InvalidInput, f"{TARGET} (2, 4); transposed?"),
    Wrong("features", "target", lambda y: y[1:], InvalidInput, f"{TARGET} (3, 2)"),
    Wrong(
        "features",
        "target",
        lambda y: y > 0,
        InvalidType,
        "target: expected float64 for the readout last_step, got bool",
    ),
    Wrong("last_sequence", "target", lambda y: y[1:], InvalidInput, f"{SEQUENCE} (4, 2)"),
    Wrong(
        "every_step mse",
        "target",
        lambda y: y[:, 1:],
        InvalidInput,
        "target: expected (5, 4, 2) for the readout every_step, got (5, 3, 2)",
    ),
    Wrong("final_state", "target", list, InvalidType, "target: expected a numpy.ndarray, got list"),
    Wrong("final_state", "target", np.float64, InvalidType, f"target: expected {NUMBERS} float64"),
    Wrong("final_state", "target", lambda y: y[1:], InvalidInput, "target: expected (4,), got (3,)"),
    Wrong("every_step", "target", np.transpose, InvalidInput, "target: expected (5, 4), got (4, 5)"),
    Wrong("decoder", "target", lambda y: y[:T], InvalidInput, "target: expected (8, 4), got (5, 4)"),
    Wrong("decoder", "target", poked(2), InvalidInput, "target: expected numbers from -1 to 1, got 2"),
    Wrong("every_step", "target", poked(-2), InvalidInput, "target: expected numbers from -1 to 1, got -2"),
    Wrong(
        "every_step",
        "target",
        lambda y: 0 * y - 1,
        InvalidInput,
        "target: expected at least one that counts, got -1 everywhere",
    ),
]


@pytest.mark.parametrize(
    "wrong", [*WRONG_INPUTS, *WRONG_TARGETS], ids=lambda wrong: f"{wrong.network}: {wrong.message}"
)
def test_a_wrong_batch_is_refused(wrong: Wrong) -> None:
    batch, network = good(wrong.network), NETWORKS[wrong.network]
    changed = batch._replace(**{wrong.field: wrong.change(getattr(batch, wrong.field))})
    checks = [require_batch, require_inputs] if wrong in WRONG_INPUTS else [require_batch]
    for check in checks:
        with pytest.raises(wrong.error) as caught:
            check(network, changed)
        assert str(caught.value) == wrong.message
    if wrong not in WRONG_INPUTS:
        require_inputs(network, changed)


def test_what_is_no_batch_is_refused() -> None:
    for check in (require_batch, require_inputs):
        with pytest.raises(InvalidType, match=r"^batch: expected a Batch, got tuple$"):
            check(NETWORKS["features"], tuple(good("features")))  # pyright: ignore


# In each field, the axis of the sequences, as the docstring of ``Batch`` has it.
AXES = {"x": 1, "masks": 2, "lengths": 0, "decoder_x": 1, "decoder_masks": 2}
CUT = [name for name in NETWORKS if name != "last_sequence"]


def labelled(name: str) -> tuple[Batch, dict[str, int]]:
    """A batch whose every number tells its sequence, in the tens, and is found once; and the axes."""
    batch = good(name)
    axes = AXES | {"target": 1 if batch.target.shape[0] in (T, D) else 0}
    fields = {}
    for field, array in batch._asdict().items():
        if array is not None:
            moved = np.moveaxis(np.zeros(array.shape, int), axes[field], 0)
            rest = np.arange(moved[0].size).reshape(moved[0].shape)
            fields[field] = np.moveaxis(np.stack([1000 * n + rest for n in range(B)]), 0, axes[field])
    return Batch(**fields), axes


def sequences(batch: Batch, axes: dict[str, int]) -> dict[str, list[int]]:
    """Field -> the sequences that it has, in order."""
    given = {field: array for field, array in batch._asdict().items() if array is not None}
    return {
        k: (np.moveaxis(a, axes[k], 0).reshape(a.shape[axes[k]], -1)[:, 0] // 1000).tolist() for k, a in given.items()
    }


@pytest.mark.parametrize("name", CUT)
def test_all_that_belongs_to_a_sequence_is_taken_along(name: str) -> None:
    whole, axes = labelled(name)
    taken = take(NETWORKS[name], whole, [2, 0, 2])
    assert sequences(taken, axes) == {field: [2, 0, 2] for field in sequences(whole, axes)}
    for field, array in taken._asdict().items():
        old = getattr(whole, field)
        assert (array is None) == (old is None)
        if old is not None:
            np.testing.assert_array_equal(np.moveaxis(array, axes[field], 0)[1], np.moveaxis(old, axes[field], 0)[0])


@pytest.mark.parametrize("size", [1, 3, 4, 9])
@pytest.mark.parametrize("name", CUT)
def test_an_epoch_has_every_sequence_once(name: str, size: int) -> None:
    whole, axes = labelled(name)
    order = np.random.default_rng(5).permutation(B).tolist()
    assert order != list(range(B))
    cut = list(minibatches(NETWORKS[name], whole, size, np.random.default_rng(5)))
    found = [sequences(batch, axes) for batch in cut]
    expected = [order[start : start + size] for start in range(0, B, size)]
    assert found == [dict.fromkeys(sequences(whole, axes), part) for part in expected]


def test_each_epoch_has_an_order_of_its_own_and_equal_seeds_have_equal_ones() -> None:
    network, (whole, axes) = NETWORKS["decoder"], labelled("decoder")

    def orders(seed: int) -> list[list[int]]:
        rng = np.random.default_rng(seed)
        epochs = [list(minibatches(network, whole, 3, rng)) for _ in range(5)]
        return [[n for batch in epoch for n in sequences(batch, axes)["x"]] for epoch in epochs]

    assert orders(1) == orders(1) != orders(2)
    assert len(set(map(tuple, orders(1)))) > 2


def test_without_a_size_the_batch_stays_whole_and_in_order() -> None:
    for name in ("decoder", "last_sequence"):
        batch, rng = good(name), np.random.default_rng(5)
        (whole,) = minibatches(NETWORKS[name], batch, None, rng)
        assert whole is batch
        assert rng.bit_generator.state == np.random.default_rng(5).bit_generator.state
    message = r"^batch_size: expected None for last_sequence, whose sequences are one example, got 3$"
    with pytest.raises(InvalidInput, match=message):
        next(minibatches(NETWORKS["last_sequence"], good("last_sequence"), 3, np.random.default_rng(5)))


@pytest.mark.parametrize(("steps", "lengths"), [(1, [1] * T), (2, [2, 2, 1]), (5, [5]), (9, [5])])
@pytest.mark.parametrize("name", ["every_step", "every_step mse"])
def test_pieces_of_time_follow_one_another(name: str, steps: int, lengths: list[int]) -> None:
    batch = good(name)._replace(masks=None, lengths=None)
    cut = list(pieces(batch, steps))
    assert [len(piece.x) for piece in cut] == [len(piece.target) for piece in cut] == lengths
    np.testing.assert_array_equal(np.concatenate([piece.x for piece in cut]), batch.x)
    np.testing.assert_array_equal(np.concatenate([piece.target for piece in cut]), batch.target)


def test_masks_are_drawn_for_encoder_and_decoder() -> None:
    network, bare = NETWORKS["decoder"], good("decoder")._replace(masks=None, decoder_masks=None)
    rng = np.random.default_rng(3)
    first, second = (with_masks(network, bare, rng) for _ in range(2))
    again = with_masks(network, bare, np.random.default_rng(3))
    for field, shape in (("masks", (1, T, B, H)), ("decoder_masks", (1, D, B, H))):
        masks = getattr(first, field)
        assert masks.shape == shape
        assert set(masks.ravel()) == {0, 2}
        np.testing.assert_array_equal(masks, getattr(again, field))
        assert (masks != getattr(second, field)).any()
    assert first.masks is not None
    assert first.decoder_masks is not None
    assert (first.masks != first.decoder_masks[:, :T]).any()
    assert with_masks(NETWORKS["features"], good("features")._replace(masks=None), rng).decoder_masks is None
    batch = good("one layer")
    assert with_masks(NETWORKS["one layer"], batch, rng) is batch
