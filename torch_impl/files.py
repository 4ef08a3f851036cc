"""Weights from files that PyTorch wrote."""

import pickle
from pathlib import Path

import numpy as np
import torch

from common.errors import InvalidInput, mismatch


def state_dict(path: Path) -> dict[str, np.ndarray]:
    """What ``torch.save(module.state_dict(), path)`` wrote, in float64; no code in the file is run."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InvalidInput(mismatch("--weights", "a state_dict that torch.save wrote", f"{path} ({reason})")) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InvalidInput(
            mismatch("--weights", "a state_dict, names with tensors", f"{path} ({type(found).__name__})")
        )
    return {name: value.detach().double().numpy() for name, value in found.items()}
