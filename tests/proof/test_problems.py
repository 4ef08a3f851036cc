"""The problem for a layer of a file: inputs of the scale that it sees, and states of the size that it reaches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.backend import registry
from common.errors import InvalidInput
from common.proof.problems import BATCH, STEPS, Asked, draw
from common.proof.subject import digest, fingerprint, open_subject
from tests.proof.models import H, I


def saved(folder: Path, **arrays: torch.Tensor) -> Path:
    torch.manual_seed(1)
    module = torch.nn.LSTM(I, H, 2, bidirectional=True)
    path = folder / "model.pt"
    torch.save({f"enc.{k}": v for k, v in module.state_dict().items()} | arrays, path)
    return path


def test_inputs_are_rows_of_the_one_table_that_fits(tmp_path: Path) -> None:
    table = torch.randn(11, I) * 7
    others = {"word_embedding.weight": torch.randn(9, I + 1), "head.weight": torch.randn(2, I)}
    subject = open_subject(saved(tmp_path, **{"src_embed.weight": table}, **others), None)
    made = draw(subject, Asked(), ("float32", "float64"))
    rows = {tuple(row) for row in table.numpy().tolist()}
    x = made.problem.x
    assert x.shape == (STEPS, BATCH, I)
    assert {tuple(row) for row in x.reshape(-1, I).tolist()} <= rows
    assert len({tuple(row) for row in x.reshape(-1, I).tolist()}) > 5
    assert "random rows of src_embed.weight (11, 4)" in made.origin[0]


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"embed.weight": torch.ones(11, I + 1)},
        {"embed.weight": torch.ones(11, I), "embedding.weight": torch.ones(11, I)},
        {"member.weight": torch.ones(11, I)},
        {"embed.weight": torch.full((11, I), float("nan"))},
    ],
)
def test_inputs_are_standard_normal_without_one(arrays: dict[str, torch.Tensor], tmp_path: Path) -> None:
    made = draw(open_subject(saved(tmp_path, **arrays), None), Asked(), ("float32",))
    assert "standard normal" in made.origin[0]
    assert 0.8 < made.problem.x.std() < 1.2
    assert len(np.unique(made.problem.x)) > 300


def test_sequences_start_where_others_end(tmp_path: Path) -> None:
    subject = open_subject(saved(tmp_path), None)
    made = draw(subject, Asked(lengths=(3, 5, 2)), ("float32", "float64"))
    problem, spec = made.problem, subject.spec.with_dtype("float64")
    assert problem.x.shape == (5, 3, I)
    assert problem.state0 is not None
    _, ends = registry.load("numpy").forward(
        spec, problem.params, problem.x.astype("float64"), None, lengths=problem.lengths
    )
    for start, end in zip(problem.state0, ends, strict=True):
        assert start.dtype == "float32"
        assert np.allclose(start, end[:, [2, 0, 1]], atol=1e-6)
        assert abs(start).min() > 0
    assert draw(subject, Asked(given_state=False), ("float32",)).problem.state0 is None


def test_the_seed_and_the_narrowest_dtype_decide_the_numbers(tmp_path: Path) -> None:
    subject = open_subject(saved(tmp_path), None)
    one, two, other = (
        draw(subject, Asked(seed=seed), dtypes).problem
        for seed, dtypes in ((1, ("float64", "float16")), (1, ("float16",)), (2, ("float16",)))
    )
    assert one.x.dtype == one.dy.dtype == "float16"
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)
    assert fingerprint(one._replace(lengths=np.array([3]))) != fingerprint(one)
    assert fingerprint(one._replace(state0=None)) != fingerprint(one)


def test_weights_beyond_a_narrower_dtype_are_refused(tmp_path: Path) -> None:
    weights = torch.nn.RNN(I, H).state_dict()
    weights["weight_hh_l0"][0, 0] = 1e6
    torch.save(weights, tmp_path / "a.pt")
    subject = open_subject(tmp_path / "a.pt", None)
    with pytest.raises(
        InvalidInput, match=r"weights in .*: expected values within float16, got 1e\+06 in weight_hh_l0"
    ):
        subject.params("float16")


def test_the_digest_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = digest(folder)
    (folder / "a").rename(folder / "b")
    second = digest(folder)
    (folder / "b").write_text("2")
    assert len({first, second, digest(folder)}) == 3


@pytest.mark.parametrize("asked", [Asked(steps=10**8), Asked(batch=10**30), Asked(lengths=(10**30, 1))])
def test_more_steps_than_memory_holds_are_refused(asked: Asked, tmp_path: Path) -> None:
    subject = open_subject(saved(tmp_path), None)
    with pytest.raises(InvalidInput, match=r"steps of the sequences: expected at most .* in all for"):
        draw(subject, asked, ("float32",))
