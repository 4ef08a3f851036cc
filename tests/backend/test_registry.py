"""Names to backends: what is found, refused, missing or broken, and that a backend leaves its framework's switches."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from common.backend import registry
from common.backend.contract import Backend, Batch
from common.backend.registry import BUILTIN, FRAMEWORKS, Entry
from common.equivalence.variants import random_problem
from common.errors import BackendBroken, BackendMissing, InvalidInput, InvalidType
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from jax_impl import stack as jax_stack
from jax_impl.backend import JaxBackend
from torch_impl import stack as torch_stack
from torch_impl.backend import TorchBackend

ROOT = Path(__file__).parents[2]
SPEC = ModelSpec(cell="RNN", input_size=3, hidden_size=7)
# A backend as an attribute, as an attribute of one, and as a module; and something that is only half of one.
THIRD_PARTY = """
from numpy_impl.backend import NumpyBackend

class Mine(NumpyBackend):
    name = "mine"

class Box:
    backend = Mine()

class HALF:
    name, oracle, cells, forward = "half", False, frozenset(), None

BACKEND = Box.backend
name, oracle, cells, dtypes = BACKEND.name, BACKEND.oracle, BACKEND.cells, BACKEND.dtypes
forward, vjp, trainer = BACKEND.forward, BACKEND.vjp, BACKEND.trainer
timed, environment, options, predict = BACKEND.timed, BACKEND.environment, BACKEND.options, BACKEND.predict
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing is remembered from one test to the next."""
    registry.load.cache_clear()
    yield
    registry.load.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to import from, with the package acme."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "__init__.py").touch()
    (tmp_path / "acme" / "rnn.py").write_text(THIRD_PARTY)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


PACKAGES = {"numpy": ["numpy"], "one-bias": ["numpy"], "torch": ["torch"], "torch.nn": ["torch"]}
PACKAGES |= {"jax": ["jax", "jaxlib", "optax"], "flax": ["flax", "jax", "jaxlib", "optax"]}


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_fulfils_the_contract_under_its_own_name(name: str) -> None:
    backend = registry.load(name)
    assert isinstance(backend, Backend)
    assert (backend.name, backend.oracle) == (name, name in ("torch.nn", "flax"))
    found = backend.environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {package: found[package] for package in PACKAGES[name]} == {p: version(p) for p in PACKAGES[name]}
    assert found["device"]


@pytest.mark.parametrize("path", ["acme.rnn", "acme.rnn:BACKEND", "acme.rnn:Box.backend"])
def test_a_dotted_path_is_a_backend(path: str, folder: Path) -> None:
    backend, problem = registry.load(path), random_problem(SPEC, 4, 5, 0)
    assert backend.name == "mine"
    y, expected = (b.forward(SPEC, *problem[:3])[0] for b in (backend, registry.load("numpy")))
    assert np.array_equal(y, expected)
    assert registry.load(path) is backend


def test_an_installed_package_offers_backends(folder: Path) -> None:
    info = folder / "acme_rnn-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rnn\nVersion: 1.0\n")
    points = "acme = acme.rnn:BACKEND\nnumpy = acme.rnn:BACKEND\n[another.group]\nelse = acme.rnn\n"
    (info / "entry_points.txt").write_text(f"[rnn_rosetta.backends]\n{points}")
    assert registry.available() == BUILTIN | {"acme": Entry("acme.rnn:BACKEND", None, "from acme-rnn")}
    assert "acme" not in sys.modules, "listing imports nothing"
    assert [registry.load(name).name for name in ("acme", "numpy")] == ["mine", "numpy"]
    with pytest.raises(InvalidInput, match=r"one of numpy, .*, acme, package\.module:attribute, got 'else'$"):
        registry.load("else")


NAMES = "backend: expected one of numpy, jax, torch, torch.nn, flax, one-bias, package.module:attribute, got"
REFUSED = {
    "acme": f"{NAMES} 'acme'",
    "NumPy": f"{NAMES} 'NumPy'; did you mean numpy?",
    "": f"{NAMES} ''",
    "nosuch.rnn": "backend nosuch.rnn: expected an importable module, got no module nosuch",
    "acme.nosuch:BACKEND": "backend acme.nosuch:BACKEND: expected an importable module, got no module acme.nosuch",
    "acme.rnn:NOSUCH": "backend acme.rnn:NOSUCH: expected an attribute NOSUCH in acme.rnn, got none",
    "acme.rnn:Box.nosuch": "backend acme.rnn:Box.nosuch: expected an attribute Box.nosuch in acme.rnn, got none",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_name_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        registry.load(name)
    assert str(caught.value) == REFUSED[name]


@pytest.mark.parametrize(("name", "has"), [("acme:", set()), ("acme.rnn:HALF", {"name", "oracle", "cells", "forward"})])
def test_an_object_that_is_not_a_backend_is_refused_with_what_it_lacks(name: str, has: set[str], folder: Path) -> None:
    with pytest.raises(
        InvalidType, match=f"^backend {name}: expected the contract of common.backend.contract.Backend"
    ) as caught:
        registry.load(name)
    entries = {"name", "oracle", "cells", "dtypes", "options", "forward", "vjp", "trainer", "predict", "timed"}
    entries |= {"environment"}
    assert {entry for entry in entries if f"'{entry}'" in str(caught.value)} == entries - has


@pytest.mark.parametrize(
    ("extra", "package"), [(extra, package) for extra in FRAMEWORKS for package in FRAMEWORKS[extra]]
)
def test_each_package_of_an_extra_can_be_missing(extra: str, package: str, folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(BUILTIN, "new", Entry("acme.needs:BACKEND", extra, ""))
    (folder / "acme" / "needs.py").write_text(f"import {package}")
    with pytest.raises(BackendMissing) as caught:
        registry.load("new")
    text = f"backend new needs {package}, which is not installed; run: pip install -e '.[{extra}]'"
    assert str(caught.value) == text
    with pytest.raises(BackendBroken, match=f"^backend acme.needs is installed but fails on import: .*{package}"):
        registry.load("acme.needs")


IS_MISSING = "BackendMissing: backend torch needs torch, which is not installed; run: pip install -e '.[torch]'"
FAILS = "BackendBroken: backend torch is installed but fails on import: "
# What the file torch.py holds, and what loading the backend ends in. The first is a torch that is not there.
FRAMEWORK_STATES = {
    "import sys; sys.modules['torch'] = None; import torch": IS_MISSING,
    "raise RuntimeError('no driver')": f"{FAILS}RuntimeError: no driver",
    "raise OSError('libcudart.so.13')": f"{FAILS}OSError: libcudart.so.13",
    "import numpy_two": f"{FAILS}ModuleNotFoundError: No module named 'numpy_two'",
    "import torch._C": f"{FAILS}ModuleNotFoundError: No module named 'torch._C'; 'torch' is not a package",
    "": f"{FAILS}ImportError: cannot import name",
}


@pytest.mark.parametrize("source", FRAMEWORK_STATES)
def test_a_framework_is_missing_or_broken(source: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(source)
    script = (
        "from common.backend.registry import load\ntry: load('torch')\n"
        "except Exception as error: print(type(error).__name__, error, sep=': ')\nprint(load('numpy').name)"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, check=True)
    first, second = result.stdout.splitlines()
    assert first.startswith(FRAMEWORK_STATES[source])
    assert second == "numpy"


def jax_switches() -> Any:
    return jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision  # pyright: ignore


def torch_switches() -> Any:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@contextmanager
def torch_set(precision: str, tf32: bool) -> Iterator[None]:
    kept = torch_switches()
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = tf32
    yield
    torch.set_float32_matmul_precision(kept[0])
    torch.backends.cudnn.allow_tf32 = kept[1]


@contextmanager
def jax_set(x64: bool, precision: str | None) -> Iterator[None]:
    with jax.enable_x64(x64), jax.default_matmul_precision(precision):
        yield


# The backend's class, our core, what its switches are, how to set them, what they are within a call.
JAX = (JaxBackend, jax_stack.forward, jax_switches, jax_set, (True, "highest"))
TORCH = (TorchBackend, torch_stack.forward, torch_switches, torch_set, ("highest", False))
SWITCHES = [(*JAX, (False, "bfloat16")), (*JAX, (True, None)), (*TORCH, ("medium", True)), (*TORCH, ("highest", False))]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("kind", "core", "switches", "set_to", "within", "before"), SWITCHES)
def test_switches_hold_within_a_call_only(kind, core, switches, set_to, within, before, fails) -> None:
    seen = set()

    def spy(*arguments: Any, **keywords: Any) -> Any:
        seen.add(switches())
        if fails:
            raise OverflowError
        return core(*arguments, **keywords)

    with set_to(*before):
        backend, problem = kind("spy", spy, oracle=False), random_problem(SPEC, 4, 5, 0)
        network, batch = NetworkSpec(model=SPEC, readout_size=7), Batch(problem.x, problem.dy[0])
        trainer = backend.trainer(RunSpec(network=network, optimizer=OptimizerSpec()), initial_network(network, 0))
        calls = [lambda: backend.forward(SPEC, *problem[:3]), lambda: backend.vjp(SPEC, *problem[:5]), trainer.params]
        calls += [lambda: trainer.step(batch), lambda: trainer.gradients(batch), lambda: trainer.evaluate(batch)]
        calls += [lambda: backend.predict(network, initial_network(network, 0), batch)]
        calls += [trainer.wait, backend.environment, lambda: backend.timed(SPEC, problem, backward=True)()]
        for call in calls:
            with suppress(OverflowError):
                call()
            assert switches() == before
    assert seen == {within}
