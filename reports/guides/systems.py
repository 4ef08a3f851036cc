"""The libraries of the guides, as their users meet them, and the pairs that have a page."""

from typing import NamedTuple


class System(NamedTuple):
    """A library as its users meet it.

    ``word`` begins its layouts' names, ``target`` is what ``--to`` takes, ``file`` the example's name. ``batch`` says
    where the axis of the batch is; ``load`` are lines of Python that load ``file``.
    """

    title: str
    word: str
    target: str
    file: str
    batch: str
    load: tuple[str, ...]
    extra: str


SYSTEMS = {
    system.title: system
    for system in (
        System(
            title="PyTorch",
            word="torch",
            target="torch",
            file="lstm.pt",
            batch="second: (T, B, I); first with `batch_first=True`",
            load=("import torch", "", "model = torch.nn.LSTM(8, 16)", 'model.load_state_dict(torch.load("{file}"))'),
            extra="torch",
        ),
        System(
            title="safetensors",
            word="torch",
            target="safetensors",
            file="lstm.safetensors",
            batch="that of PyTorch, whose names the file has",
            load=(
                "import torch",
                "from safetensors.torch import load_file",
                "",
                "model = torch.nn.LSTM(8, 16)",
                'model.load_state_dict(load_file("{file}"))',
            ),
            extra="safetensors",
        ),
        System(
            title="Keras",
            word="keras",
            target="keras",
            file="lstm.keras",
            batch="first: (B, T, I)",
            load=("import keras", "", 'model = keras.saving.load_model("{file}")'),
            extra="keras",
        ),
        System(
            title="ONNX",
            word="onnx",
            target="onnx",
            file="lstm.onnx",
            batch="second: (T, B, I); first with `layout=1`",
            load=("import onnxruntime", "", 'model = onnxruntime.InferenceSession("{file}")'),
            extra="onnx",
        ),
        System(
            title="Flax",
            word="linen",
            target="flax-msgpack",
            file="lstm.msgpack",
            batch="first: (B, T, I); second with `time_major=True`",
            load=(
                "from pathlib import Path",
                "",
                "from flax import serialization",
                "",
                'variables = serialization.msgpack_restore(Path("{file}").read_bytes())',
            ),
            extra="jax",
        ),
        System(
            title="Flax NNX",
            word="nnx",
            target="nnx-orbax",
            file="lstm-nnx",
            batch="first: (B, T, I); second with `time_major=True`",
            load=(
                "from pathlib import Path",
                "",
                "import orbax.checkpoint as ocp",
                "",
                'state = ocp.StandardCheckpointer().restore(Path("{file}").absolute())',
            ),
            extra="jax",
        ),
        System(
            title="Haiku",
            word="haiku",
            target="haiku",
            file="lstm-haiku.npz",
            batch="second: (T, B, I), in `hk.dynamic_unroll`",
            load=(
                "import numpy as np",
                "",
                "params = {{}}",
                'for key, array in np.load("{file}").items():',
                '    module, _, name = key.rpartition("/")',
                "    params.setdefault(module, {{}})[name] = array",
            ),
            extra="haiku",
        ),
        System(
            title="Equinox",
            word="equinox",
            target="equinox",
            file="lstm.eqx",
            batch="none: one sequence at a time, (T, I), under `jax.vmap`",
            load=(
                "import json",
                "",
                "import equinox",
                "import jax",
                "",
                'with open("{file}", "rb") as file:',
                "    about = json.loads(file.readline())",
                '    like = [equinox.nn.LSTMCell(8, 16, dtype=about["dtype"], key=jax.random.key(0))]',
                "    (cell,) = equinox.tree_deserialise_leaves(file, like)",
            ),
            extra="equinox",
        ),
        System(
            title="TensorFlow 1",
            word="tf1",
            target="tf1",
            file="lstm-tf1.npz",
            batch="first: (B, T, I); second with `time_major=True`",
            load=(
                "import numpy as np",
                "",
                'variables = dict(np.load("{file}"))  # one variable of the graph is assigned from each',
            ),
            extra="",
        ),
    )
}
PAIRS = (
    ("PyTorch", "Flax"),
    ("PyTorch", "Flax NNX"),
    ("PyTorch", "Keras"),
    ("PyTorch", "ONNX"),
    ("PyTorch", "safetensors"),
    ("PyTorch", "Haiku"),
    ("PyTorch", "Equinox"),
    ("PyTorch", "TensorFlow 1"),
    ("Flax", "PyTorch"),
    ("Flax NNX", "PyTorch"),
    ("Keras", "PyTorch"),
    ("Keras", "Flax"),
    ("Keras", "ONNX"),
    ("ONNX", "PyTorch"),
    ("ONNX", "Keras"),
    ("safetensors", "Flax"),
    ("Haiku", "PyTorch"),
    ("Haiku", "Flax"),
    ("Equinox", "PyTorch"),
    ("TensorFlow 1", "PyTorch"),
    ("TensorFlow 1", "Keras"),
)
