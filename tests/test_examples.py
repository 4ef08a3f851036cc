"""The examples in docstrings do what they show, each without the names of its module, as a reader would paste it."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

MODULES = (
    "common.backend.registry",
    "common.datasets",
    "common.equivalence.ladder",
    "common.model.cells",
    "common.conversions.layers",
    "common.model.describe",
    "common.model.initial",
    "common.model.layout",
    "common.model.masks",
    "common.model.spec",
    "common.proof.recorded",
    "common.tracing.shown",
    "common.training.loop",
    "common.training.settings",
    "common.conversions.layouts",
    "common.conversions.words",
    "common.weights.arrays",
    "common.weights.candidates",
    "common.weights.contents",
    "common.weights.files",
    "common.weights.writing",
    "common.weights.formats.keras.configuration",
    "common.weights.layer",
    "common.weights.limits",
    "common.weights.pickles.machine",
    "common.weights.schemes.layers",
    "jax_impl.flax_cell",
    "jax_impl.loading",
    "jax_impl.modules",
    "jax_impl.nnx_weights",
    "jax_impl.promotion",
    "numpy_impl.loading",
    "numpy_impl.modules",
    "numpy_impl.trace",
    "torch_impl.loading",
    "torch_impl.modules",
)

ROOT = Path(__file__).parent.parent
PACKAGES = ("common", "numpy_impl", "jax_impl", "torch_impl", "reports")


def test_no_example_is_left_out() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if ">>> " in path.read_text()]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files}
    assert names == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_happens(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(import_module(name), globs={}, optionflags=doctest.ELLIPSIS)
    assert results.attempted, f"{name} has no example"
    assert not results.failed, "the difference is in the captured output"
