"""Files of parameters, and parameters of any framework as NumPy arrays.

``read`` is the one door for files: it recognises the format by the content of a file, refuses damaged files, runs no
code in them, and returns a ``WeightsFile``. ``read_trained`` is the same for the files of ``rosetta train``, which
``write`` makes, and ``single_layer`` extracts the one recurrent layer of a file. Each format has a module of its own,
named in ``common.weights.files.FORMATS``. ``loaded_parameters`` is the door for parameters in memory.
"""

from common.weights.arrays import loaded_parameters, to_array, to_arrays
from common.weights.files import read, read_trained, require_folder, write
from common.weights.layer import Layer, single_layer
from common.weights.source import Trained, WeightsFile

__all__ = ["Layer", "Trained", "WeightsFile", "loaded_parameters", "read", "read_trained", "require_folder"]
__all__ += ["single_layer", "to_array", "to_arrays", "write"]
