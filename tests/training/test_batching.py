"""Cutting into batches loses no sequence and keeps all that belongs to it together."""

from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.errors import InvalidInput
from common.training.batching import minibatches, pieces, take, with_masks
from tests.backend.batches import NETWORKS, B, D, H, T, good

# In each field, the axis of the sequences, as the docstring of ``Batch`` has it.
AXES = {"x": 1, "masks": 2, "lengths": 0, "decoder_x": 1, "decoder_masks": 2}
CUT = [name for name in NETWORKS if name != "last_sequence"]


def labelled(name: str) -> tuple[Batch, dict[str, int]]:
    """A batch whose every number names its sequence, in the tens, and is found once; and the axes."""
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
    drawn: Any = first
    assert (drawn.masks != drawn.decoder_masks[:, :T]).any()
    assert with_masks(NETWORKS["features"], good("features")._replace(masks=None), rng).decoder_masks is None
    batch = good("one layer")
    assert with_masks(NETWORKS["one layer"], batch, rng) is batch
