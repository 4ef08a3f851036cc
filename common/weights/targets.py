"""The kinds of files that ``write`` makes, by the name that ``--to`` takes."""

from common.weights.formats import flax_msgpack, leaves, npz, orbax, safetensors_files
from common.weights.formats.keras import writing as keras_files
from common.weights.formats.pytorch import writing as pytorch
from common.weights.onnx_graph import writer
from common.weights.schemes import (
    equinox_names,
    flax_names,
    haiku_names,
    keras,
    nnx_names,
    onnx_operators,
    tf1_names,
    torch_names,
)
from common.weights.schemes.torch_names import TORCH_NN, TORCHSCRIPT
from common.weights.source import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("npz", ".npz", "NumPy arrays under PyTorch's names", torch_names, npz.write, "torch"),
        Target("torch", ".pt", "a state_dict of PyTorch", TORCH_NN, pytorch.state_dict, "torch"),
        Target(
            "torch-checkpoint",
            ".pt",
            "a checkpoint of PyTorch with a state_dict in it",
            TORCH_NN,
            pytorch.checkpoint,
            "torch",
        ),
        Target("torchscript", ".pt", "a layer of torch.nn as TorchScript", TORCHSCRIPT, pytorch.torchscript, "torch"),
        Target("safetensors", ".safetensors", "safetensors", torch_names, safetensors_files.write, "torch"),
        Target("onnx", ".onnx", "an ONNX model of the layer", onnx_operators, writer.write, "onnxruntime"),
        Target("flax-orbax", "", "Orbax's checkpoint of variables of flax.linen", flax_names, orbax.write, "flax"),
        Target(
            "flax-msgpack",
            ".msgpack",
            "flax.serialization of variables of flax.linen",
            flax_names,
            flax_msgpack.write,
            "flax",
        ),
        Target("flax-npz", ".npz", "variables of flax.linen as NumPy arrays", flax_names, npz.write, "flax"),
        Target("nnx-orbax", "", "Orbax's checkpoint of the nnx.State of a module", nnx_names, orbax.write_nnx, "nnx"),
        Target("keras", ".keras", "an archive of Keras 3", keras.Keras3, keras_files.archive, "keras"),
        Target("keras-weights", ".weights.h5", "weights of Keras 3", keras.Keras3, keras_files.weights, "keras"),
        Target("keras2", ".h5", "an HDF5 file of Keras 2", keras.Keras2, keras_files.keras2, "keras"),
        Target("cudnn", ".h5", "Keras 2's layers over cuDNN, in HDF5", keras.CuDNN, keras_files.cudnn, "keras"),
        Target("nnx-npz", ".npz", "the parameters of a module of nnx as NumPy arrays", nnx_names, npz.write, "nnx"),
        Target("haiku", ".npz", "Haiku's parameters, as NumPy arrays", haiku_names, npz.write, "haiku"),
        Target("equinox", ".eqx", "the leaves of Equinox's cells", equinox_names, leaves.write, "equinox"),
        Target("tf1", ".npz", "TensorFlow 1's variables, as NumPy arrays", tf1_names, npz.write, "tf1"),
    )
}
