"""The one door for reading files of weights: ``read`` recognises the format.

``write_trained`` makes the files of ``rosetta train``; ``common.weights.writing`` makes those of other systems.

>>> from pathlib import Path
>>> import numpy as np
>>> from common.model.initial import initial_parameters
>>> from common.model.spec import ModelSpec
>>> from common.weights.files import read
>>> np.savez("rnn.npz", **initial_parameters(ModelSpec(cell="RNN", input_size=3, hidden_size=5), seed=0))
>>> {name: value.shape for name, value in read(Path("rnn.npz")).params.items()}
{'weight_ih_l0': (5, 3), 'weight_hh_l0': (5, 5), 'bias_ih_l0': (5,), 'bias_hh_l0': (5,)}
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from common.errors import InvalidInput, mismatch
from common.weights import limits, schemes
from common.weights.formats import flax_msgpack, leaves, npz, onnx_files, orbax, safetensors_files, saved, unread
from common.weights.formats.keras import files as keras_files
from common.weights.formats.pytorch import files as torch_files
from common.weights.formats.saved import write as write_trained
from common.weights.source import Format, Source, Trained, Unusable, WeightsFile, open_source

__all__ = ["FORMATS", "read", "read_trained", "require_folder", "write_trained"]

# The first format that fits is taken: ``npz`` takes every zip file.
FORMATS: tuple[Format, ...] = (
    orbax,
    torch_files,
    leaves,
    safetensors_files,
    saved,
    keras_files,
    npz,
    onnx_files,
    flax_msgpack,
)
EXPECTED = "a file of weights of PyTorch, safetensors, NumPy, Keras, ONNX, Flax, Haiku, Equinox or TensorFlow 1"


def read(path: Path | str, what: str = "weights") -> WeightsFile:
    """The weights in a file, whose format is recognised by its content.

    Raises ``InvalidInput``, which begins with ``what``, for a file that cannot be read, is damaged, or holds anything
    but arrays; ``BackendMissing`` and ``BackendBroken`` where the file is PyTorch's and PyTorch cannot be imported.
    """
    return _read(Path(path), what, EXPECTED, FORMATS)


def read_trained(path: Path) -> Trained:
    """The network in a file that ``rosetta train`` wrote. Raises ``InvalidInput`` for any other file."""
    file = _read(path, "network file", "one that `rosetta train` wrote", (saved,))
    assert file.network is not None
    return Trained(file.network, file.params, dict(file.about))


def _read(path: Path, what: str, expected: str, formats: Sequence[Format]) -> WeightsFile:
    try:
        source = open_source(path)
        file = _fitting(source, formats).read(source)
    except OSError as error:
        raise InvalidInput(mismatch(what, expected, f"{path} ({error.strerror or error})")) from error
    except Unusable as error:
        raise InvalidInput(mismatch(what, expected, f"{path} ({error})")) from error
    if file.layers is not None:
        return file
    named = {name: value for name, value in file.params.items() if len(name) <= limits.MAX_NAME}
    long = {name[:60]: f"its name has {len(name):,} characters" for name in file.params if name not in named}
    return file._replace(params=named, skipped={**file.skipped, **long}, layers=schemes.find(named))


def _fitting(source: Source, formats: Sequence[Format]) -> Format:
    for form in formats:
        if form.fits(source):
            return form
    missing = " without the entry `about`" if source.entries is not None else ""
    raise Unusable(unread.kind(source) + missing)


def require_folder(folder: Path) -> None:
    """Make a folder and raise unless files can be written to it: better before the training than after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInput(mismatch("--out", "a writable folder", f"{folder} ({error.strerror})")) from error
