"""What an implementation of the cells is: the contract that it meets, the checks of its arguments, and its registry.

``contract`` holds the types that cross the boundary and the protocols; ``registry`` goes from a name to an
implementation. ``guards`` check what a call is given, once. ``base`` is what the adapters of the frameworks share, and
``module`` and ``arrangement`` what the idiomatic modules share (``numpy_impl.RNN`` and so on): the constructors'
arguments, and the way from a call's arrays to the core and back.
"""

from common.backend.base import Adapter, AdapterTrainer, Boundary
from common.backend.contract import Backend, Batch, Grads, Problem, State, Trainer
from common.backend.guards import require_supported, unsupported, zero_state
from common.backend.registry import available, load, load_all

__all__ = [
    "Adapter",
    "AdapterTrainer",
    "Backend",
    "Batch",
    "Boundary",
    "Grads",
    "Problem",
    "State",
    "Trainer",
    "available",
    "load",
    "load_all",
    "require_supported",
    "unsupported",
    "zero_state",
]
