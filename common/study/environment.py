"""What the machine and each backend run on, as records."""

import platform
from collections.abc import Iterator, Sequence
from typing import Any

from common import parallel
from common.backend import registry
from common.record_types import Environment


def environment(names: Sequence[str]) -> Iterator[Environment]:
    """One record for the machine and one for each backend."""
    machine: dict[str, Any] = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": processor(),
    }
    machine["processors"] = parallel.cpu_count()
    yield Environment(kind="environment", of="machine", facts=machine)
    for name in names:
        yield Environment(kind="environment", of=name, facts=dict(registry.load(name).environment()))


def processor() -> str:
    """The name of the processor, as the system reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
