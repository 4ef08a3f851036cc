"""The masks of dropout: which kinds are drawn, with which shapes and values, and how they are given to a call."""

from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.errors import InvalidInput
from common.model.cells import LAYERS
from common.model.masks import Masks, as_masks, dropout_masks, mask_shapes, named_masks
from common.model.spec import ModelSpec
from common.training.batching import OF_MASKS, take, with_masks
from tests.backend.samples import model, training

T, B, I, H = 4, 5, 3, 7
FULL = ModelSpec(
    cell="LSTM",
    input_size=I,
    hidden_size=H,
    num_layers=3,
    bidirectional=True,
    proj_size=2,
    dropout=0.5,
    input_dropout=0.2,
    recurrent_dropout=1.0,
)


def test_each_kind_has_its_own_shape_and_probability() -> None:
    masks = dropout_masks(FULL, T, B, np.random.default_rng(0))
    assert [mask.shape for mask in masks] == [(2, T, B, 4), (B, I), (6, B, 2)] == list(mask_shapes(FULL, T, B))
    assert [set(np.unique(mask)) for mask in masks] == [{0, 2}, {0, 1.25}, {0}]
    half = dropout_masks(FULL.with_dtype("float16"), T, B, np.random.default_rng(0))
    assert all(np.array_equal(a, b.astype("float16")) for a, b in zip(masks, half, strict=True))
    assert {mask.dtype.name for mask in half} == {"float16"}


@pytest.mark.parametrize(("name", "kind"), [("dropout", 0), ("input_dropout", 1), ("recurrent_dropout", 2)])
def test_only_what_is_dropped_has_a_mask(name: str, kind: int) -> None:
    chosen: dict[str, Any] = {name: 0.5}
    spec = ModelSpec(cell="GRU", input_size=I, hidden_size=H, num_layers=2, **chosen)
    masks = dropout_masks(spec, T, B, np.random.default_rng(0))
    assert [mask is not None for mask in masks] == [place == kind for place in range(3)]
    assert dropout_masks(ModelSpec(cell="RNN", input_size=I, hidden_size=H), T, B, np.random.default_rng(0)) == Masks()


def test_one_layer_has_masks_of_its_input_and_state_alone() -> None:
    spec = ModelSpec(cell="RNN", input_size=I, hidden_size=H, dropout=0.5, input_dropout=0.5, recurrent_dropout=0.5)
    masks = dropout_masks(spec, T, B, np.random.default_rng(0))
    assert masks.layers is None
    assert (masks.input.shape, masks.recurrent.shape) == ((B, I), (1, B, H))


def test_masks_between_layers_alone_are_given_as_an_array() -> None:
    layers, of_input = np.ones((1, T, B, H)), np.ones((B, I))
    assert Masks().simplest is None
    assert Masks(layers).simplest is layers
    both = Masks(layers, of_input)
    assert both.simplest is both
    assert as_masks(None) is None
    assert as_masks(layers) == Masks(layers)
    assert as_masks(both) is both
    assert [(name, kind) for name, kind, _ in named_masks(both)] == [
        ("masks.layers", "layers"),
        ("masks.input", "input"),
    ]
    assert [(name, kind) for name, kind, _ in named_masks(layers)] == [("masks", "layers")]


@pytest.mark.parametrize("name", ["input_dropout", "recurrent_dropout"])
def test_a_probability_is_one_and_a_step_has_none(name: str) -> None:
    for wrong in (-0.1, 1.5):
        chosen: dict[str, Any] = {name: wrong}
        with pytest.raises(InvalidInput, match=rf"^{name}: expected a probability in \[0, 1\], got {wrong}$"):
            ModelSpec(cell="RNN", input_size=I, hidden_size=H, **chosen)
    message = rf"^{name}: expected 0.0 for GRUCell, got 0.5; GRUCell is one step of one layer$"
    chosen = {name: 0.5}
    with pytest.raises(InvalidInput, match=message):
        ModelSpec(cell="GRUCell", input_size=I, hidden_size=H, **chosen)


@pytest.mark.parametrize("cell", LAYERS)
def test_a_batch_is_given_the_masks_of_its_network_and_sequences_keep_theirs(cell: str) -> None:
    run, params, batch = training(model(cell, num_layers=2, dropout=0.5, recurrent_dropout=0.5, input_dropout=0.5))
    masked = with_masks(run.network, batch, np.random.default_rng(0))
    assert isinstance(masked.masks, Masks)
    assert all(mask is not None for mask in masked.masks)
    taken = take(run.network, masked, [3, 1])
    assert isinstance(taken.masks, Masks)
    for whole, part, axis in zip(masked.masks, taken.masks, OF_MASKS, strict=True):
        assert np.array_equal(part, np.take(whole, [3, 1], axis=axis))
    trainer = registry.load("numpy").trainer(run, params)
    without = masked._replace(masks=masked.masks._replace(recurrent=None))
    assert len({trainer.gradients(one)[0] for one in (masked, without, batch)}) == 3
