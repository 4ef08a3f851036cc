"""Set for every test process before a framework starts: one thread each, and how and where JAX compiles."""

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from common.parallel import ONE_THREAD

ROOT = Path(__file__).parents[1]
# Most of the time of JAX's tests went into compiling programs that run once, on a few numbers. So the tests compile
# with little optimisation, in a fifth of the time; tests/equivalence/test_optimised.py compiles as users do.
QUICK = {
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "false",
    "xla_cpu_parallel_codegen_split_count": "1",
}
FLAGS = " ".join(f"--{name}={value}" for name, value in QUICK.items())
LARGEST = 1 << 30  # bytes


def compiled() -> Path:
    """The folder of what JAX has compiled, shared by all runs of this version on processors of this kind."""
    try:
        of = [version("jaxlib"), platform.machine()]
    except PackageNotFoundError:
        of = []
    information = Path("/proc/cpuinfo")
    if information.exists():
        of += [line for line in information.read_text().splitlines() if line.startswith(("flags", "Features"))][:1]
    return ROOT / ".jax_cache" / hashlib.sha256("\n".join(of).encode()).hexdigest()[:16]


os.environ.update(ONE_THREAD)
os.environ.setdefault("XLA_FLAGS", FLAGS)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # the first process of a run; the others inherit what it sets
    folder = compiled()
    if folder.exists() and sum(file.stat().st_size for file in folder.iterdir()) > LARGEST:
        shutil.rmtree(folder)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture(scope="module", name="browser")
def browser_fixture() -> Iterator[Any]:
    """One Chromium for the tests of a module; no longer, as its event loop would run during other modules' tests."""
    from tests.browser import chromium

    with chromium() as browser:
        yield browser
