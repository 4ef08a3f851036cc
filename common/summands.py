"""The size of what is added up in each quantity of a problem, which sets how far rounding can carry it.

A result can be much smaller than its summands: where they cancel, where a gate is shut. What is left of it then is the
rounding of the summands, and a tolerance relative to the result alone would compare noise.
"""

from collections.abc import Iterable

import numpy as np

from common.contract import Problem
from common.layout import layer_suffixes
from common.spec import ModelSpec

KINDS = ("weight_ih", "weight_hh")


def gradient_name(parameter: str) -> str:
    """The quantity that is the gradient of a parameter; the first layer goes without its suffix."""
    return "d" + parameter.removesuffix("_l0")


def summands(spec: ModelSpec, args: Problem) -> dict[str, float]:
    """Quantity -> the size of what is added up in it, from the numbers of the problem alone.

    Outputs: the largest pre-activation there can be, as a rounding error in it reaches an activated value, whose slope
    is at most 1, and the layers above through their weights. Gradients: that times the largest cotangent, as the slope,
    which is written in activated values, carries the same error; times the weights on the way down to a layer; and
    times x for the weights that meet it.
    """
    D, suffixes, params = spec.num_directions, layer_suffixes(spec), args.params
    x, state, kept = _largest([args.x]), max(1.0, _largest(args.state0 or ())), max(1.0, _largest([args.masks]))
    levels = [suffixes[row : row + D] for row in range(0, len(suffixes), D)]
    values, rounding = x, 1.0
    for level, names in enumerate(levels):
        into, back = (max(abs(params[kind + name]).sum(axis=1).max() for name in names) for kind in KINDS)
        biases = _largest(params.get(bias + name) for name in names for bias in ("bias_ih", "bias_hh"))
        preactivation = float(into) * values + float(back) * state + 2 * biases
        from_below = float(into) * kept * rounding if level else 0.0
        rounding = max(rounding, preactivation + from_below)
        values = kept * (preactivation if spec.nonlinearity == "relu" else 1.0)
    sizes = dict.fromkeys(("y", *(f"{name}_n" for name in spec.state_names)), rounding)
    gradient = rounding * _largest((args.dy, *args.dstate))
    for level, names in reversed(list(enumerate(levels))):
        for name in (name for name in params if name.endswith(names)):
            meets_x = level == 0 and name.startswith("weight_ih")
            sizes[gradient_name(name)] = gradient * (max(1.0, x) if meets_x else 1.0)
        sizes |= {f"d{name}_0": gradient for name in spec.state_names}
        gradient *= max(1.0, *(float(abs(params["weight_ih" + name]).sum(axis=0).max()) for name in names))
    return sizes | {"dx": gradient}


def _largest(arrays: Iterable[np.ndarray | None]) -> float:
    return max((float(abs(array.astype("f8")).max()) for array in arrays if array is not None), default=0.0)
