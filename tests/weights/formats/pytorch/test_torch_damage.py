"""A sample of what ``fuzz_torch`` does thousands of times: damage is refused as the project refuses, or harmless."""

from pathlib import Path

import pytest

from tests.weights.formats.pytorch import fuzz_torch

SAMPLES = fuzz_torch.samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_is_refused_or_read(name: str, tmp_path: Path) -> None:
    """Where the container has checksums, no damage changes an array."""
    counts = fuzz_torch.outcomes(SAMPLES[name], 60, tmp_path, seed=1)
    assert counts.total() == 60
    assert counts["refused"] > 5
    assert not counts["different"] or name not in fuzz_torch.CHECKED


@pytest.mark.parametrize("name", SAMPLES)
def test_every_cut_is_refused(name: str, tmp_path: Path) -> None:
    data, path = SAMPLES[name], tmp_path / "cut"
    if name == "tar":
        data = data.rstrip(b"\0")  # it is filled up with zeros
    for size in range(0, len(data), max(1, len(data) // 20)):
        path.write_bytes(data[:size])
        assert fuzz_torch.bits(path) is None, size


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"tar"}))
def test_something_behind_a_file_is_refused(name: str, tmp_path: Path) -> None:
    for more in (b"\0", b".", SAMPLES[name]):
        (tmp_path / "more").write_bytes(SAMPLES[name] + more)
        assert fuzz_torch.bits(tmp_path / "more") is None, more[:1]
