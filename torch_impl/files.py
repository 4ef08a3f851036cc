"""Weights from files that PyTorch wrote."""

import pickle
from pathlib import Path

import numpy as np
import torch

from common.errors import InvalidInput, mismatch

WANTED = "a state_dict, names with tensors, that torch.save wrote"


def state_dict(path: Path) -> dict[str, np.ndarray]:
    """What ``torch.save(module.state_dict(), path)`` wrote, numbers in float64; no code in the file is run."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidInput(mismatch("--weights", WANTED, f"{path} ({error.strerror or error})")) from error
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise InvalidInput(mismatch("--weights", WANTED, path, "a whole module, or no file of torch's?")) from error
    if not isinstance(found, dict):
        raise InvalidInput(mismatch("--weights", WANTED, f"{path}, which holds a {type(found).__name__}"))
    for name, value in found.items():
        dense = isinstance(value, torch.Tensor) and value.layout is torch.strided
        if not isinstance(name, str) or not dense:
            kind = "sparse tensor" if isinstance(value, torch.Tensor) and not dense else type(value).__name__
            cause = f"a checkpoint? save its [{name!r}] alone" if isinstance(value, dict) else ""
            raise InvalidInput(mismatch("--weights", WANTED, f"{path} with {name!r}: {kind}", cause))
    return {name: (value.double() if value.is_floating_point() else value).numpy() for name, value in found.items()}
