"""Wrong batches are refused by name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from common.backend.guards import require_batch, require_inputs
from common.errors import InvalidInput, InvalidType
from tests.backend.batches import NETWORKS, B, D, H, T, good


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


def test_something_that_is_not_a_batch_is_refused() -> None:
    for check in (require_batch, require_inputs):
        with pytest.raises(InvalidType, match=r"^batch: expected a Batch, got tuple$"):
            check(NETWORKS["features"], tuple(good("features")))  # pyright: ignore


def test_masks_of_a_decoder_are_refused_where_there_is_none() -> None:
    batch = good("features")._replace(decoder_masks=np.ones((1, 8, 4, 7)))
    with pytest.raises(InvalidInput, match=r"^decoder_masks for the readout .*: expected None, got an array$"):
        require_inputs(NETWORKS["features"], batch)
