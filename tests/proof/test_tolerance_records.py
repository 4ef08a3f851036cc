"""`rosetta tolerance --json`: each library has the numbers that its line has."""

import json
import re

import pytest

from common.cli import main

NUMBER = r"=([0-9.e+-]+)"
PATTERNS = {"torch": ("rtol", "atol"), "numpy": ("rtol", "atol"), "pytest": ("rel", "abs")}


def test_records_hold_the_pair_of_each_library(capsys: pytest.CaptureFixture[str]) -> None:
    """pytest takes the larger of its two tolerances, so that its pair is another."""
    assert main(["tolerance", "--cell", "LSTM", "--hidden-size", "5", "--dtype", "float32", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) > 5
    for record in found:
        for library, names in PATTERNS.items():
            line = record[library]["line"]
            numbers = [float(match[1]) for name in names if (match := re.search(name + NUMBER, line))]
            assert numbers == pytest.approx([record[library]["rtol"], record[library]["atol"]], rel=1e-5), library
    pairs = [[(record[name]["rtol"], record[name]["atol"]) for name in PATTERNS] for record in found]
    assert all(of_torch == of_numpy for of_torch, of_numpy, _ in pairs)
    assert sum(of_numpy != of_pytest for _, of_numpy, of_pytest in pairs) > len(pairs) / 2
