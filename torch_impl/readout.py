"""What is read out, a linear layer, and the losses."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]


def select(readout: str, directions: int, y: Tensor, state: State, valid: Tensor | None) -> Tensor:
    """y (T, B, D*H) and the final state -> the rows that are read out, (..., D*H)."""
    match readout:
        case "last_step":
            if valid is None:
                return y[-1]
            # Any row can be taken for a sequence without a valid step, as all of its rows are zero.
            t, batch = (torch.arange(size, device=y.device) for size in y.shape[:2])
            return y[(valid[:, :, 0] * t[:, None]).amax(0), batch]
        case "last_sequence":
            return y[:, -1]
        case "final_state":
            return torch.cat(list(state[0][-directions:]), dim=1)
        case _:
            return y


def forward(params: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """Rows z (..., D*H) -> the prediction (..., O)."""
    return functional.linear(z, params["weight"], params["bias"])


def mse(prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """The mean of the squared errors, over the ``valid`` rows if these are given."""
    if valid is not None:
        valid = valid.expand_as(target)
        prediction, target = prediction[valid], target[valid]
    return functional.mse_loss(prediction, target)


def cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean of -log softmax(prediction) at the target, where there is one (not -1)."""
    return functional.cross_entropy(prediction.flatten(0, -2), target.flatten().long(), ignore_index=-1)
