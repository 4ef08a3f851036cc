"""Which package may load which, seen in a fresh process: what a user without a framework gets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FRAMEWORKS = {"torch", "jax", "jaxlib", "flax", "optax"}
PACKAGES = {"numpy_impl", "jax_impl", "torch_impl"}
ROOT = Path(__file__).parent.parent


def loaded_by(code: str) -> set[str]:
    """The top-level modules in sys.modules after ``code``, in a new interpreter."""
    report = "import sys, json; print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    command = [sys.executable, "-W", "error", "-c", f"{code}\n{report}"]
    output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    return set(json.loads(output.splitlines()[-1]))


COMMANDS = [
    "check",
    "convert",
    "study",
    "report",
    "bench",
    "train",
    "generate",
    "predict",
    "trace",
    "stepper",
    "lessons",
]
COMMANDS += ["describe", "ls", "doctor"]
MAIN = "from common.cli import main\ntry: main({arguments})\nexcept SystemExit: pass"


@pytest.mark.parametrize(
    "code",
    [
        "import numpy_impl",
        "import common.cli, common.study.study, common.study.bench, common.equivalence.ladder, common.datasets",
        "import reports",
        MAIN.format(arguments=["--help"]),
        MAIN.format(arguments=["check", "--help"]),
        MAIN.format(arguments=["ls", "--json"]),
        MAIN.format(arguments=["train", "--backend", "numpy", "--epochs", "2", "--json"]),
    ],
)
def test_no_framework_is_loaded(code: str) -> None:
    assert not loaded_by(code) & FRAMEWORKS


def test_rosetta_help_needs_numpy_alone() -> None:
    hidden = "import sys\nfor name in ('rich', 'threadpoolctl', 'jinja2', 'matplotlib'): sys.modules[name] = None\n"
    helped = "\n".join(MAIN.format(arguments=[*words, "--help"]) for words in ([], *([name] for name in COMMANDS)))
    assert "numpy" in loaded_by(hidden + helped)
    assert "numpy_impl" in loaded_by(hidden + "import numpy_impl")


@pytest.mark.parametrize(
    ("package", "framework"), [("jax_impl", "jax"), ("torch_impl", "torch"), ("numpy_impl", "numpy")]
)
def test_each_package_loads_only_its_framework(package: str, framework: str) -> None:
    code = f"import {package}, {package}.backend"
    oracles = {"jax_impl": "flax_linen", "torch_impl": "torch_nn"}
    if package in oracles:
        code += f", {package}.oracles.{oracles[package]}"
    found = loaded_by(code)
    assert framework in found
    assert not found & (PACKAGES - {package})
    assert not found & ({"torch", "jax"} - {framework})
    assert "reports" not in found


def test_common_loads_no_implementation() -> None:
    assert not loaded_by("import common.cli, common.study.study") & (PACKAGES | {"reports"})
