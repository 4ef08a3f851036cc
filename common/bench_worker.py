"""One arm of a benchmark in a process of its own: ``python -m common.bench_worker BACKEND``.

Reads one JSON object a line and answers with one. ``{"prepare": [...]}`` builds and compiles a case, and answers the
seconds of its first call and of a later one; ``{"run": n}`` answers the seconds of n calls, after one that is not
counted; ``{"environment": true}`` answers what it runs on.
"""

import json
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from common import registry
from common.spec import ModelSpec
from common.variants import random_problem


def seconds(call: Callable[[], None], times: int) -> float:
    start = perf_counter()
    for _ in range(times):
        call()
    return perf_counter() - start


def main() -> None:
    backend = registry.load(sys.argv[1])
    call: Callable[[], None] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        if "environment" in request:
            answer = backend.environment()
        elif "prepare" in request:
            case = request["prepare"]
            sizes = {"input_size": case["input_size"], "hidden_size": case["hidden_size"]}
            spec = ModelSpec(cell=case["cell"], dtype=case["dtype"], **sizes)
            problem = random_problem(spec, case["steps"], case["batch"], case["seed"])
            call = backend.timed(spec, problem, backward=case["backward"])
            answer = {"first": seconds(call, 1), "later": min(seconds(call, 1) for _ in range(3))}
        else:
            assert call, "run before prepare"
            call()
            answer = seconds(call, request["run"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
