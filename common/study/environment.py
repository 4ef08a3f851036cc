"""What the machine and each backend run on, as records."""

import platform
from collections.abc import Iterator, Sequence

from common import parallel
from common.backend import registry
from common.records import Record


def environment(names: Sequence[str]) -> Iterator[Record]:
    """One record for the machine and one for each backend."""
    machine = {"system": platform.platform(), "python": platform.python_version(), "processor": processor()}
    yield {"kind": "environment", "of": "machine", **machine, "processors": parallel.cpu_count()}
    for name in names:
        yield {"kind": "environment", "of": name, **registry.load(name).environment()}


def processor() -> str:
    """The name of the processor, as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
