"""What the worker process of one arm of a benchmark does: its functions are called there, one after another."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from common.backend import registry
from common.backend.contract import Backend
from common.equivalence.ladder import each
from common.equivalence.variants import random_problem
from common.model.spec import ModelSpec

# The call that this process times; ``prepare`` replaces it.
_prepared: list[Callable[[], None]] = []


def seconds(call: Callable[[], None], times: int) -> float:
    start = perf_counter()
    for _ in range(times):
        call()
    return perf_counter() - start


def environment(name: str) -> dict[str, Any]:
    """What the backend runs on."""
    return registry.load(name).environment()


def prepare(name: str, case: dict[str, Any]) -> dict[str, float]:
    """Build and compile a case (the fields of ``bench.Case``): the seconds of its first call and of a later one.

    Raises ``BackendBroken`` if the backend fails.
    """
    sizes = {"input_size": case["input_size"], "hidden_size": case["hidden_size"]}
    spec = ModelSpec(cell=case["cell"], dtype=case["dtype"], **sizes)
    problem = random_problem(spec, case["steps"], case["batch"], case["seed"])

    def first_calls(backend: Backend) -> dict[str, float]:
        call = backend.timed(spec, problem, backward=case["backward"])
        _prepared[:] = [call]
        return {"first": seconds(call, 1), "later": min(seconds(call, 1) for _ in range(3))}

    return each({name: registry.load(name)}, first_calls)[name]


def run(times: int) -> float:
    """The seconds that this many calls take, after one that is not counted."""
    (call,) = _prepared
    call()
    return seconds(call, times)
