"""The layouts of other systems, one entry for each of their cells: what every converter and every table is made from.

Names of arrays are those within one cell; in a file, the path of the layer stands before them. ``source`` names what
the entry follows.
"""

from common.conversions.parts import (
    BEHIND,
    BIAS_H,
    BIAS_X,
    PROJECTION,
    ROWS,
    SUM,
    XH,
    H,
    Layout,
    Part,
    X,
)

LSTM_STATES = ("h", "c")


def _torch(cell: str, gates: str, owner: str) -> Layout:
    parts = [
        Part("weight_ih", X, gates, transposed=False),
        Part("weight_hh", H, gates, transposed=False),
        Part("bias_ih", BIAS_X, gates),
        Part("bias_hh", BIAS_H, gates),
    ]
    if cell == "LSTM":
        parts.append(Part("weight_hr", PROJECTION, "", transposed=False))
    state = LSTM_STATES if "LSTM" in cell else ("h",)
    return Layout("PyTorch", owner, cell, tuple(parts), f"documentation of {owner}, Variables", state=state)


def _fused(
    system: str, owner: str, cell: str, gates: str, names: tuple[str, str, str], bias: str, **more: object
) -> Layout:
    """One kernel for x, one for h, one bias; kernels have the gates along their last axis."""
    parts = (Part(names[0], X, gates), Part(names[1], H, gates), Part(names[2], bias, gates))
    state = LSTM_STATES if cell == "LSTM" else ("h",)
    return Layout(**{"system": system, "owner": owner, "cell": cell, "parts": parts, "state": state} | more)  # pyright: ignore


def _linen_lstm(system: str, owner: str, f: str) -> Layout:
    """A Dense for each gate and side; the bias is on the recurrent side."""
    parts = [Part(f"i{f if gate == 'f' else gate}/kernel", X, gate) for gate in "ifgo"]
    for gate in "ifgo":
        parts += [Part(f"h{gate}/kernel", H, gate), Part(f"h{gate}/bias", SUM, gate)]
    source = f"source of {owner} (Flax 0.12)"
    return Layout(system, owner, "LSTM", tuple(parts), source, needs_bias=True, state=("c", "h"))


def _linen_gru() -> Layout:
    parts = []
    for gate in "rzn":
        parts += [Part(f"i{gate}/kernel", X, gate), Part(f"i{gate}/bias", BIAS_X if gate == "n" else SUM, gate)]
        parts += [Part(f"h{gate}/kernel", H, gate)]
    parts.append(Part("hn/bias", BIAS_H, "n"))
    owner = "flax.linen.GRUCell"
    source = f"source of {owner} (Flax 0.12)"
    return Layout("Flax", owner, "GRU", tuple(parts), source, options={"reset_after": True}, needs_bias=True)


KERAS = ("kernel", "recurrent_kernel", "bias")
KERAS_SOURCE = "documentation and source of keras.layers.{} (Keras 3.15)"
ONNX_SOURCE = "operator {} of ONNX (opset 22)"
NNX_SOURCE = "source of flax.nnx.{} (Flax 0.12)"
HAIKU_SOURCE = "source of haiku.{} (dm-haiku 0.0.17)"
EQUINOX_SOURCE = "source of equinox.nn.{} (0.13)"
FORGET = {"f": 1.0}


def _onnx(cell: str, gates: str, **options: object) -> Layout:
    parts = (
        Part("W", X, gates, transposed=False),
        Part("R", H, gates, transposed=False),
        Part("B", BEHIND, gates),
    )
    state = LSTM_STATES if cell == "LSTM" else ("h",)
    return Layout("ONNX", f"ONNX's {cell}", cell, parts, ONNX_SOURCE.format(cell), options=options, state=state)


def _haiku_rnn(owner: str, bias: str, *more: Part) -> Layout:
    """Two modules ``Linear``, which have the names that Haiku makes up for them; always with ReLU."""
    parts = (Part("linear/w", X, ""), Part("linear/b", bias, ""), Part("linear_1/w", H, ""), *more)
    source, options = HAIKU_SOURCE.format("VanillaRNN"), {"nonlinearity": "relu"}
    return Layout("Haiku", owner, "RNN", parts, source, options=options, needs_bias=True)


_TF1_GATES = (Part("gates/kernel", XH, "rz"), Part("gates/bias", SUM, "rz"))


def _tf1(owner: str, cell: str, parts: tuple[Part, ...], **options: object) -> Layout:
    state = ("c", "h") if cell == "LSTM" else ("h",)
    owner = owner if owner.startswith("tf.") else f"tf.compat.v1.nn.rnn_cell.{owner}"
    source = f"source of {owner.partition(',')[0]}"
    return Layout("TensorFlow 1", owner, cell, parts, source, options=options, needs_bias=True, state=state)


def _tf1_lstm(added: dict[str, float]) -> tuple[Part, ...]:
    """TensorFlow's i, j, f, o; ``added`` is its ``forget_bias``, which is no variable."""
    projection = Part("projection/kernel", PROJECTION, "")
    return Part("kernel", XH, "igfo"), Part("bias", SUM, "igfo", added=added), projection


def _cudnn(cell: str, gates: str) -> Layout:
    """Keras 2's layers over cuDNN: what cuDNN holds of a gate under the shape that Keras gives it, and two biases."""
    parts = (
        Part("kernel", X, gates, reshaped=True),
        Part("recurrent_kernel", H, gates, reshaped=True),
        Part("bias", BEHIND, gates),
    )
    owner, state = f"keras.layers.CuDNN{cell}", LSTM_STATES if cell == "LSTM" else ("h",)
    source = f"source of {owner} and of the conversion on loading (Keras 2.3)"
    return Layout("Keras", owner, cell, parts, source, needs_bias=True, state=state)


_DENSE = ("dense_i/kernel", "dense_h/kernel")

# By name: the system, and where it has several forms of a cell, which.
LAYOUTS: dict[str, Layout] = {
    "torch RNN": _torch("RNN", "", "torch.nn.RNN"),
    "torch LSTM": _torch("LSTM", "ifgo", "torch.nn.LSTM"),
    "torch GRU": _torch("GRU", "rzn", "torch.nn.GRU"),
    "rosetta LSTM1997": _torch("LSTM1997", "igo", "LSTM1997 of RNN Rosetta"),
    "keras RNN": _fused(
        "Keras", "keras.layers.SimpleRNN", "RNN", "", KERAS, SUM, source=KERAS_SOURCE.format("SimpleRNN")
    ),
    "keras LSTM": _fused("Keras", "keras.layers.LSTM", "LSTM", "ifgo", KERAS, SUM, source=KERAS_SOURCE.format("LSTM")),
    "keras GRU": _fused(
        "Keras",
        "keras.layers.GRU, reset_after=True",
        "GRU",
        "zrn",
        KERAS,
        ROWS,
        source=KERAS_SOURCE.format("GRU"),
        options={"reset_after": True},
    ),
    "keras GRU, reset_after=False": _fused(
        "Keras",
        "keras.layers.GRU, reset_after=False",
        "GRU",
        "zrn",
        KERAS,
        SUM,
        source=KERAS_SOURCE.format("GRU"),
        options={"reset_after": False},
    ),
    "keras CuDNNLSTM": _cudnn("LSTM", "ifgo"),
    "keras CuDNNGRU": _cudnn("GRU", "zrn"),
    "onnx RNN": _onnx("RNN", ""),
    "onnx LSTM": _onnx("LSTM", "iofg"),
    "onnx GRU": _onnx("GRU", "zrn", reset_after=True),
    "onnx GRU, linear_before_reset=0": _onnx("GRU", "zrn", reset_after=False),
    "linen RNN": _fused(
        "Flax",
        "flax.linen.SimpleCell",
        "RNN",
        "",
        ("i/kernel", "h/kernel", "i/bias"),
        SUM,
        source="source of flax.linen.SimpleCell (Flax 0.12)",
        needs_bias=True,
    ),
    "linen LSTM": _linen_lstm("Flax", "flax.linen.LSTMCell", "f"),
    "linen GRU": _linen_gru(),
    "nnx RNN": _fused(
        "Flax",
        "nnx.SimpleCell",
        "RNN",
        "",
        (*_DENSE, "dense_i/bias"),
        SUM,
        source=NNX_SOURCE.format("SimpleCell"),
        needs_bias=True,
    ),
    "nnx LSTM": _linen_lstm("Flax", "nnx.LSTMCell", "f_"),
    "nnx optimized LSTM": _fused(
        "Flax",
        "nnx.OptimizedLSTMCell",
        "LSTM",
        "ifgo",
        (*_DENSE, "dense_h/bias"),
        SUM,
        source=NNX_SOURCE.format("OptimizedLSTMCell"),
        needs_bias=True,
        state=("c", "h"),
    ),
    "nnx GRU": _fused(
        "Flax",
        "nnx.GRUCell",
        "GRU",
        "rzn",
        (*_DENSE, "dense_i/bias"),
        SUM,
        source=NNX_SOURCE.format("GRUCell"),
        options={"reset_after": True},
        needs_bias=True,
        zero="n",
    ),
    "haiku RNN": _haiku_rnn("haiku.VanillaRNN", BIAS_X, Part("linear_1/b", BIAS_H, "")),
    "haiku RNN, double_bias=False": _haiku_rnn("haiku.VanillaRNN, double_bias=False", SUM),
    "haiku LSTM": Layout(
        "Haiku",
        "haiku.LSTM",
        "LSTM",
        (Part("linear/w", XH, "igfo"), Part("linear/b", SUM, "igfo", added=FORGET)),
        HAIKU_SOURCE.format("LSTM"),
        needs_bias=True,
        state=LSTM_STATES,
    ),
    "haiku GRU": Layout(
        "Haiku",
        "haiku.GRU",
        "GRU",
        (
            Part("w_i", X, "zrn", negated="z"),
            Part("w_h", H, "zrn", negated="z"),
            Part("b", SUM, "zrn", negated="z"),
        ),
        HAIKU_SOURCE.format("GRU"),
        options={"reset_after": False},
        needs_bias=True,
    ),
    "equinox LSTM": Layout(
        "Equinox",
        "equinox.nn.LSTMCell",
        "LSTM",
        (
            Part("weight_ih", X, "ifgo", transposed=False),
            Part("weight_hh", H, "ifgo", transposed=False),
            Part("bias", SUM, "ifgo"),
        ),
        EQUINOX_SOURCE.format("LSTMCell"),
        state=LSTM_STATES,
    ),
    "equinox GRU": Layout(
        "Equinox",
        "equinox.nn.GRUCell",
        "GRU",
        (
            Part("weight_ih", X, "rzn", transposed=False),
            Part("weight_hh", H, "rzn", transposed=False),
            Part("bias", SUM, "rzn"),
            Part("bias_n", BIAS_H, "n"),
        ),
        EQUINOX_SOURCE.format("GRUCell"),
        options={"reset_after": True},
    ),
    "tf1 RNN": _tf1("BasicRNNCell", "RNN", (Part("kernel", XH, ""), Part("bias", SUM, ""))),
    "tf1 LSTM": _tf1("LSTMCell", "LSTM", _tf1_lstm(FORGET)),
    "tf1 LSTM, forget_bias=0": _tf1("LSTMCell, forget_bias=0", "LSTM", _tf1_lstm({})),
    "tf1 GRU": _tf1(
        "GRUCell",
        "GRU",
        (*_TF1_GATES, Part("candidate/kernel", XH, "n"), Part("candidate/bias", SUM, "n")),
        reset_after=False,
    ),
    "tf1 GRU, CuDNN": _tf1(
        "tf.contrib.cudnn_rnn.CudnnCompatibleGRUCell",
        "GRU",
        (
            *_TF1_GATES,
            Part("candidate/input_projection/kernel", X, "n"),
            Part("candidate/input_projection/bias", BIAS_X, "n"),
            Part("candidate/hidden_projection/kernel", H, "n"),
            Part("candidate/hidden_projection/bias", BIAS_H, "n"),
        ),
        reset_after=True,
    ),
}
