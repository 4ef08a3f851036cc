"""The other tests compile JAX's programs in a hurry (see conftest); here they are compiled as users compile them."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

RUNGS = {"complex step", "forward", "gradient"}
OF_CELLS = [word for cell in ("RNN", "RNNCell", "LSTM", "GRU", "LSTM1997") for word in ("--cell", cell)]
CHECKED = {
    "drawn": (("jax", "flax"), ("--configs", "20", *OF_CELLS), RUNGS),
    "trained": (("jax",), ("--cell", "LSTM", "--dtype", "float64", "--no-state"), RUNGS | {"loss", "training"}),
}


@pytest.mark.parametrize("of", CHECKED)
def test_programs_compiled_as_users_compile_them_agree(of: str) -> None:
    backends, words, checks = CHECKED[of]
    options = [word for name in ("numpy", *backends) for word in ("--backend", name)]
    command = [sys.executable, "-m", "common.cli", "check", *options, *words, "--jobs", "1", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    rows = [record for record in map(json.loads, run.stdout.splitlines()) if record["kind"] == "check"]
    assert run.returncode == 0, run.stderr
    for name in backends:
        assert {row["check"] for row in rows if name in (row["a"], row["b"])} == checks - {"complex step"}
    assert {row["check"] for row in rows} == checks
    verdicts = {row["verdict"] for row in rows}
    assert "passed" in verdicts
    assert "failed" not in verdicts
