"""A GRU's weights in Keras' and ONNX's layout give what these libraries compute, and come back as they were."""

from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.conversions import layers as conversions
from common.conversions.layers import ONE_BIAS_NOTE
from common.errors import InvalidInput, InvalidType
from common.model.layout import Weights, named_weights
from common.model.spec import ModelSpec

I, H, T, B = 2, 3, 2, 2
# The final state of a bidirectional GRU from x = values(1.1, T, B, I), h = values(1.7, 2, B, H), W, R and B below, by
# onnx.reference.ReferenceEvaluator of onnx 1.23.2 in float64; the key is linear_before_reset.
ONNX = {
    True: [
        *(0.5949558996, -0.3268292869, -0.5864135529, -0.1552325223, 0.4631492402, 0.4647762479),
        *(-0.3736418739, 0.460441359, 0.4249978676, 0.6282194202, -0.2092709271, 0.1826837204),
    ],
    False: [
        *(0.5313247187, -0.1582337105, -0.6578219885, -0.2346699867, 0.6364065538, 0.2402689321),
        *(-0.6416798619, 0.7245648256, 0.1681266684, 0.1245848055, 0.0531796095, -0.019319667),
    ],
}
# The final state of keras.layers.GRU of Keras 3.15.1 with the same x and the first h, which even with dtype="float64"
# rounds to float32 on its way; the key is reset_after.
KERAS = {
    True: [0.4292742438, 0.178393454, -0.685152807, 0.0694742178, -0.1151316936, 0.2334673352],
    False: [0.5744656723, 0.1157139477, -0.7041267284, 0.2409642352, -0.2033046614, 0.1305931933],
}


def values(factor: float, *shape: int) -> np.ndarray:
    return np.sin(factor * np.arange(1, 1 + np.prod(shape))).reshape(shape)


def onnx_params(directions: int = 2) -> dict[str, np.ndarray]:
    params = {"W": values(2.3, 2, 3 * H, I), "R": values(2.9, 2, 3 * H, H), "B": values(3.1, 2, 6 * H)}
    return {name: value[:directions] for name, value in params.items()}


def keras_params(reset_after: bool) -> dict[str, np.ndarray]:
    bias = values(3.1, 2, 3 * H) if reset_after else values(3.1, 3 * H)
    return {"kernel": values(2.3, I, 3 * H), "recurrent_kernel": values(2.9, H, 3 * H), "bias": bias}


def final_state(directions: tuple[Weights, ...], reset_after: bool) -> np.ndarray:
    bias, bidirectional = directions[0].bias_ih is not None, len(directions) > 1
    options: dict[str, Any] = {"bias": bias, "bidirectional": bidirectional, "reset_after": reset_after}
    spec = ModelSpec(cell="GRU", input_size=I, hidden_size=H, **options)
    params: dict[str, Any] = {}
    for w, suffix in zip(directions, ("_l0", "_l0_reverse"), strict=False):
        params |= {name: np.ascontiguousarray(value) for name, value in named_weights(w, suffix).items()}
    state0 = (values(1.7, 2, B, H)[: len(directions)].copy(),)
    return registry.load("numpy").forward(spec, params, values(1.1, T, B, I), state0)[1][0].ravel()


@pytest.mark.parametrize("after", [True, False])
def test_the_numbers_are_those_of_onnx_and_keras(after: bool) -> None:
    assert abs(np.subtract(ONNX[True], ONNX[False])).max() > 0.1
    onnx = conversions.from_onnx_gru(onnx_params())
    np.testing.assert_allclose(final_state(onnx, after), ONNX[after], rtol=0, atol=1e-9)
    keras = conversions.from_keras_gru(keras_params(after), reset_after=after)
    np.testing.assert_allclose(final_state((keras,), after), KERAS[after], rtol=0, atol=1e-7)


@pytest.mark.parametrize("bias", [True, False])
def test_the_way_there_is_the_inverse(bias: bool) -> None:
    """Of Keras' one bias, nothing is left to merge; of two different ones, there is."""
    onnx = {name: value for name, value in onnx_params().items() if bias or name != "B"}
    directions = conversions.from_onnx_gru(onnx)
    for params in (onnx, {name: value[:1] for name, value in onnx.items()}):
        again, note = conversions.to_onnx_gru(*conversions.from_onnx_gru(params))
        assert (again.keys(), note) == (params.keys(), "")
        assert all(np.array_equal(again[name], value) for name, value in params.items())
    for after in (True, False):
        keras = {name: value for name, value in keras_params(after).items() if bias or name != "bias"}
        w = conversions.from_keras_gru(keras, after)
        again, note = conversions.to_keras_gru(w, after)
        assert (again.keys(), note) == (keras.keys(), "")
        assert all(np.array_equal(again[name], value) for name, value in keras.items())
        assert (w.bias_ih is None) == (not bias)
    one_bias = conversions.to_keras_gru(directions[0], False)
    assert one_bias.note == (ONE_BIAS_NOTE if bias else "")
    merged = conversions.from_keras_gru(one_bias.params, False)
    np.testing.assert_allclose(final_state((merged,), False), final_state(directions[:1], False), rtol=0, atol=1e-15)


def dropped(name: str, params: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key != name}


W = Weights(np.ones((3 * H, I)), np.ones((3 * H, H)), np.ones(3 * H), np.ones(3 * H))
KERAS_LSTM = {"kernel": np.ones((I, 4 * H)), "recurrent_kernel": np.ones((H, 4 * H)), "bias": np.ones(4 * H)}
NARROW = Weights(*(part.astype("float32") for part in W[:4]))
WIDE = W._replace(weight_ih=np.ones((3 * H, I + 1)))
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (
        lambda: conversions.from_keras_gru(keras_params(True), False),
        InvalidInput,
        r"bias: .* reset_after=False.*\(2, 9\)",
    ),
    (lambda: conversions.from_keras_gru(keras_params(False)), InvalidInput, r"bias: .* reset_after=True.*\(9,\)"),
    (
        lambda: conversions.from_keras_gru(KERAS_LSTM, False),
        InvalidInput,
        r"recurrent_kernel: .*\(3, 12\); an LSTM's\?$",
    ),
    (lambda: conversions.from_keras_gru(dropped("kernel", keras_params(True))), InvalidInput, ".*missing kernel"),
    (lambda: conversions.from_keras_gru([*keras_params(True).values()]), InvalidType, ".*got list; get_weights"),  # pyright: ignore
    (lambda: conversions.to_keras_gru(W, 1), InvalidType, "reset_after: expected"),  # pyright: ignore
    (lambda: conversions.to_keras_gru(W._replace(weight_hh=np.ones((4 * H, H)))), InvalidInput, ".*; an LSTM's"),
    (lambda: conversions.to_onnx_gru(), InvalidInput, "directions: expected one or two, .*, got none"),
    (lambda: conversions.to_onnx_gru(W, W, W), InvalidInput, "directions: expected one or two"),
    (lambda: conversions.to_onnx_gru(W, Weights(*W[:2])), InvalidInput, "directions: .*, got biases, no bias$"),
    (lambda: conversions.to_onnx_gru(W, W[:2]), InvalidType, "weights: expected"),  # pyright: ignore
    (lambda: conversions.to_onnx_gru(W, NARROW), InvalidInput, r"weight_ih: .* float64, as in .* direction, got .*32$"),
    (lambda: conversions.to_onnx_gru(W, WIDE), InvalidInput, r"weight_ih: .* of float64, as in the first direction"),
    (lambda: conversions.from_onnx_gru({}), InvalidInput, "inputs of ONNX's GRU: .*, got none"),
    (lambda: conversions.from_onnx_gru([W]), InvalidType, "parameters of ONNX's GRU: .* got list"),  # pyright: ignore
    (lambda: conversions.from_onnx_gru(dropped("R", onnx_params())), InvalidInput, "parameters of .*missing R$"),
    (lambda: conversions.from_onnx_gru(onnx_params() | {"W": np.ones(3)}), InvalidInput, ".*one first axis, of 1 or 2"),
    (
        lambda: conversions.from_onnx_gru({name: np.concatenate([v, v[:1]]) for name, v in onnx_params().items()}),
        InvalidInput,
        r"inputs of ONNX's GRU: .* of 1 or 2 directions, got \{'W': 3, 'R': 3, 'B': 3\}$",
    ),
    (
        lambda: conversions.from_onnx_gru(onnx_params() | {"B": np.ones((2, 3 * H))}),
        InvalidInput,
        r"B: .*\(6H,\).*\(9,\)",
    ),
    (
        lambda: conversions.from_onnx_gru(onnx_params() | {"R": np.ones((2, 4 * H, H))}),
        InvalidInput,
        r"R: expected \(3H, H\) .*\(12, 3\); an LSTM's\?$",
    ),
]


@pytest.mark.parametrize(("convert", "error", "message"), REFUSED)
def test_other_weights_are_refused(convert: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        convert()
