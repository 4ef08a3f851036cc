"""Thousands of flips in every container of PyTorch's, which the suite has no time for.

``python -m tests.weights.formats.pytorch.fuzz_torch [FLIPS]`` prints a row for each format. A flip of one bit, or in a
tenth of the cases of a whole byte or a cut in its place, must be refused as the project refuses, or be read; anything
else ends the script with a traceback, as does a read that takes more than ten seconds. What is read with other arrays
is counted as different: none may be where the container has checksums.
"""

import io
import pickle
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import InvalidInput, InvalidType
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.targets import TARGETS
from tests.weights.formats.pytorch.torch_containers import tar
from tests.weights.formats.pytorch.torch_models import tagger, trained

FLIPS, LIMIT = 6000, 10
CHECKED = ("npz", "torch", "torch-checkpoint", "torchscript", "module")
LEGACY = {"_use_new_zipfile_serialization": False}


def saved(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def samples() -> dict[str, bytes]:
    """Format -> a file of a layer with a few numbers, by the target that writes it or as users save it."""
    model = torch.nn.LSTM(2, 3)
    state = model.state_dict()
    arrays = {name: value.numpy() for name, value in state.items()}
    spec, found = ModelSpec(cell="LSTM", input_size=2, hidden_size=3, dtype="float32"), {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in ("npz", "torch", "torch-checkpoint", "torchscript", "safetensors"):
            prefix = "rnn." if name == "torchscript" else ""
            TARGETS[name].write(Path(folder) / name, spec, {prefix + key: value for key, value in arrays.items()})
            found[name] = (Path(folder) / name).read_bytes()
    whole = {"model": model, "optimizer": trained(tagger()).state_dict()["param_groups"]}
    return found | {
        "module": saved(whole),
        "legacy": saved(state, **LEGACY),
        "legacy module": saved(whole, **LEGACY),
        "tar": tar({name: value.double() for name, value in state.items()}),
        "pickle": pickle.dumps({"weights": arrays, "epoch": 3}),
    }


def changed(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    kind = rng.randrange(20)
    if kind == 0:
        return data[:place]
    flip = rng.randrange(1, 256) if kind == 1 else 1 << rng.randrange(8)
    return data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]


def bits(path: Path) -> dict[str, Any] | None:
    """The arrays of a file, None if it is refused."""
    try:
        return {name: (value.dtype, value.shape, value.tobytes()) for name, value in files.read(path).params.items()}
    except (InvalidInput, InvalidType):
        return None


def outcomes(data: bytes, flips: int, folder: Path, seed: int = 0) -> Counter[str]:
    """How many changes were refused, changed nothing, and changed an array."""
    rng, counts, path = random.Random(seed), Counter[str](), folder / "changed"
    path.write_bytes(data)
    wanted = bits(path)
    assert wanted
    for _ in range(flips):
        path.write_bytes(changed(data, rng))
        start = time.process_time()
        found = bits(path)
        assert time.process_time() - start < LIMIT
        counts["refused" if found is None else "same" if found == wanted else "different"] += 1
    return counts


def main(flips: int = FLIPS) -> None:
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in samples().items():
            counts = outcomes(data, flips, Path(folder))
            assert not counts["different"] or name not in CHECKED, name
            numbers = ", ".join(f"{what} {counts[what]}" for what in ("refused", "same", "different"))
            print(f"{name:17} {len(data):6} bytes, {flips} changes: {numbers}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(*map(int, sys.argv[1:]))
