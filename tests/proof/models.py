"""Files of weights that torch.nn made with random weights, and what torch.nn computes with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from common.backend import registry
from common.backend.contract import Backend
from common.proof.problems import Asked, draw
from common.proof.recorded import Expected, Inputs
from common.proof.subject import Subject, open_subject
from common.proof.trials import Plan, Trial, trials

T, B, I, H = 7, 3, 4, 6


class Made(NamedTuple):
    """A file of a module's weights, and x, y and the final states that the module gave, as NumPy arrays."""

    path: Path
    module: Any
    x: np.ndarray
    outputs: dict[str, np.ndarray]


def made(folder: Path, cell: str = "LSTM", dtype: torch.dtype = torch.float32, **options: Any) -> Made:
    """A module with random weights in a file, run on random inputs from zeros."""
    torch.manual_seed(3)
    module = getattr(torch.nn, cell)(I, H, **options).to(dtype)
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(2)
    path = folder / f"{cell}.pt"
    torch.save({f"rnn.{name}": value for name, value in module.state_dict().items()}, path)
    x = torch.randn(T, B, I, dtype=dtype)
    return Made(path, module, plain(x), run(module, x))


def plain(tensor: torch.Tensor) -> np.ndarray:
    """NumPy has no bfloat16."""
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


@torch.no_grad()
def run(module: Any, x: torch.Tensor) -> dict[str, np.ndarray]:
    y, state = module(x)
    states = state if isinstance(state, tuple) else (state,)
    return {"y": plain(y)} | {f"{n}_n": plain(part) for n, part in zip("hc", states, strict=False)}


def plan(
    subject: Subject,
    backends: dict[str, Backend] | None = None,
    x: np.ndarray | None = None,
    recorded: dict[str, np.ndarray] | None = None,
    dtypes: Sequence[str] = ("float32",),
) -> Plan:
    """A check on recorded or drawn inputs."""
    inputs = None if x is None else Inputs("x.npy", x, None, is_single=False)
    backends = registry.load_all(["numpy", "torch"]) if backends is None else backends
    expected = None if recorded is None else Expected("y.npz", recorded, "float32", ())
    return Plan(
        subject=subject,
        draw=draw(subject, Asked(inputs=inputs), dtypes),
        dtypes=dtypes,
        backends=backends,
        expected=expected,
    )


def quiet(_: str, __: int) -> Any:
    return lambda *_: None


def all_trials(found: Plan) -> list[Trial]:
    return list(trials(found, quiet))


def opened(found: Made) -> Subject:
    return open_subject(found.path, None)
