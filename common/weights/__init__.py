"""Files of parameters, and parameters of any framework as NumPy arrays.

``read`` is the one door for files: it recognises the format by the content of a file, refuses damaged files, runs no
code in them, and returns a ``WeightsFile`` with the recurrent layers in it; ``write`` makes a file of another system of
such a layer. ``read_trained`` and ``write_trained`` are the same for the files of ``rosetta train``, and
``single_layer`` extracts the one recurrent layer of a file. Each format has a module of its own, named in
``common.weights.files.FORMATS``, and what ``write`` can make is in ``common.weights.targets.TARGETS``.
``loaded_parameters`` is the door for parameters in memory.
"""

from common.weights.arrays import loaded_parameters, to_array, to_arrays
from common.weights.files import read, read_trained, require_folder, write_trained
from common.weights.layer import Layer, single_layer
from common.weights.source import Trained, WeightsFile
from common.weights.writing import write

__all__ = ["Layer", "Trained", "WeightsFile", "loaded_parameters", "read", "read_trained", "require_folder"]
__all__ += ["single_layer", "to_array", "to_arrays", "write", "write_trained"]
