"""Initial parameters, drawn from a seed. All initial weights are made here.

>>> from common.model.initial import initial_parameters
>>> from common.model.spec import ModelSpec
>>> params = initial_parameters(ModelSpec(cell="RNN", input_size=3, hidden_size=16), seed=0)
>>> params["weight_hh_l0"].shape, all(abs(value).max() <= 16**-0.5 for value in params.values())
((16, 16), True)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.model.dtypes import numpy_dtype
from common.model.layout import Parameters, Shape, network_shapes, parameter_shapes
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import ModelSpec


def initial_parameters(spec: ModelSpec, seed: int) -> Parameters:
    """Every parameter uniform in +-1/sqrt(H), the distribution of ``torch.nn.RNNBase.reset_parameters``.

    Drawn in float64 and rounded, so one seed gives the same weights in every dtype, and to a cell and a layer of the
    same size alike. With ``forget_bias`` the forget gate's part of ``bias_ih`` has that value and its part of
    ``bias_hh`` is zero (Gers et al. 2000; Jozefowicz et al. 2015 advise 1).
    """
    return _draw(parameter_shapes(spec), spec, seed)


def initial_network(network: NetworkSpec, seed: int) -> Parameters:
    """The same for a network; ``torch.nn.Linear`` draws from the same distribution (fan-in H).

    Embedding tables are standard normal, as those of ``torch.nn.Embedding``, and drawn last.
    """
    shapes, rng = network_shapes(network), np.random.default_rng([seed, 5])
    tables = {f"{name}.weight" for name in network.tables}
    params = _draw({name: shape for name, shape in shapes.items() if name not in tables}, network.model, seed)
    dtype = numpy_dtype(network.model.dtype)
    return {k: rng.standard_normal(s).astype(dtype) if k in tables else params[k] for k, s in shapes.items()}


def initial_run(run: RunSpec) -> Parameters:
    """The initial network of a training run: that of its seed, with the run's bias of the input gate."""
    params = initial_network(run.network, run.seed)
    if run.input_bias is not None:
        _set_gate_bias(params, run.network.model, "i", run.input_bias)
    return params


def _set_gate_bias(params: Mapping[str, Any], spec: ModelSpec, letter: str, bias: float) -> None:
    """Write the initial bias of a gate into ``bias_ih``, and zero into ``bias_hh``, in place."""
    row = spec.kind.letters.index(letter) * spec.hidden_size
    gate = slice(row, row + spec.hidden_size)
    for name, value in params.items():
        own = name.rpartition(".")[2]
        if own.startswith(("bias_ih", "bias_hh")):
            value[gate] = bias if own.startswith("bias_ih") else 0


def _draw(shapes: Mapping[str, Shape], spec: ModelSpec, seed: int) -> Parameters:
    rng = np.random.default_rng(seed)
    bound = spec.hidden_size**-0.5
    params = {name: rng.uniform(-bound, bound, shape).astype(numpy_dtype(spec.dtype)) for name, shape in shapes.items()}
    set_forget_bias(spec, params)
    return params


def set_forget_bias(spec: ModelSpec, params: Mapping[str, Any]) -> None:
    """Write ``forget_bias``, if the model has one, into its biases, in place; any framework's, if that can be done."""
    if spec.forget_bias is not None:
        _set_gate_bias(params, spec, "f", spec.forget_bias)
