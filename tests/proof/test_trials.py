"""Trials on the weights of a file: right ones pass, and each planted mistake fails where it is."""

import importlib
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.equivalence.comparison import EXACT, EXPECTED, FAILED, PASSED
from common.equivalence.ladder import Rung
from common.equivalence.planting import planted
from common.proof.causes import explanation
from common.proof.diagnosis import by_layer, chosen, diagnose
from common.proof.outcome import is_proved, unseen, verdict
from common.proof.trials import Guest, Trial
from common.weights.peers import PeerGradients
from tests.proof.models import B, H, T, all_trials, made, opened, plan, run

GATES = "i, f, g, o = split(gates)\n    for", "f, i, g, o = split(gates)\n    for"
DROPPED = "dy[t] + dh_next", "dy[t]"


def failing(trials: list[Trial]) -> dict[str, set[str]]:
    """Participant -> the checks in which it fails against an oracle."""
    found: dict[str, set[str]] = {}
    for row in (row for trial in trials for row in trial.rows):
        if row.verdict == FAILED and row.b in (EXACT, "complex step"):
            found.setdefault(row.a, set()).add(row.check)
    return found


def first_failure(trials: list[Trial], quantity: str) -> tuple[Trial, Rung, Any]:
    for trial in trials:
        for rung, row in chosen(trial, limit=99):
            if row.quantity == quantity:
                return trial, rung, row
    raise AssertionError(f"{quantity} did not fail")


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("LSTM", {"num_layers": 2, "bidirectional": True}),
        ("GRU", {"bias": False}),
        ("RNN", {}),
        ("LSTM", {"proj_size": 3}),
    ],
)
def test_right_weights_and_outputs_pass_in_every_dtype(cell: str, options: dict[str, Any], tmp_path: Path) -> None:
    file = made(tmp_path, cell, **options)
    found = all_trials(plan(opened(file), x=file.x, recorded=file.outputs, dtypes=("float32", "float64")))
    rows = [row for trial in found for row in trial.rows]
    assert {row.verdict for row in rows} == {PASSED}
    assert {row.a for row in rows if row.b == EXACT} == {"numpy", "torch", EXPECTED}
    assert {row.variant.given_state for row in rows if EXPECTED in (row.a, row.b)} == {False}, "it starts from zeros"
    assert {row.quantity for row in rows if row.a == EXPECTED} == set(file.outputs)
    assert is_proved([row.record() for row in rows])
    assert verdict(opened(file), [row.record() for row in rows]).startswith("Equivalent: numpy, torch and expected")


def test_the_dtypes_share_one_problem(tmp_path: Path) -> None:
    found = all_trials(plan(opened(made(tmp_path)), dtypes=("float32", "float64")))
    single, double = found
    assert np.array_equal(single.problem.x.astype("float64"), double.problem.x)
    assert single.problem.x.dtype == "float32"
    assert single.answers[0] is not None
    for name, value in single.problem.params.items():
        assert np.array_equal(value.astype("float64"), double.problem.params[name])


def test_swapped_gates_fail_from_the_first_step_of_the_first_layer(tmp_path: Path) -> None:
    file = made(tmp_path, num_layers=3)
    with planted(("numpy_impl/lstm", *GATES)) as package:
        mutant = importlib.import_module(f"{package}.backend").BACKEND
        found = all_trials(plan(opened(file), {"mutant": mutant}, x=file.x))
        assert failing(found) == {"mutant": {"forward", "gradient", "complex step"}}
        trial, rung, row = first_failure(found, "y")
        places = diagnose(trial, rung, row).places
        assert places[0] == f"the outputs depart at step 0 of 0 to {T - 1}"
        assert by_layer(trial, "mutant") == "layer 0 departs, at step 0"
        _, rung, row = first_failure(found, "dweight_ih_l1")
        assert diagnose(trial, rung, row).places[0].startswith("wrong elements by gate: i: ")


def test_an_upper_layer_is_blamed_where_the_lower_ones_agree(tmp_path: Path) -> None:
    """A mutant that swaps gates from the second layer on, and a bug that begins at step 4."""
    file = made(tmp_path, num_layers=3)
    upper: Any = copy(plan(opened(file)).backends["numpy"])
    right = upper.forward

    def forward(spec: Any, *args: Any, **keywords: Any) -> Any:
        y, state = right(spec, *args, **keywords)
        late = np.arange(len(y))[:, None, None] >= 4
        return (y + (1e-3 * late).astype(y.dtype) if spec.num_layers > 1 else y), state

    upper.forward = forward
    found = all_trials(plan(opened(file), {"upper": upper}, x=file.x))
    trial, rung, row = first_failure(found, "y")
    assert by_layer(trial, "upper") == "layer 0 agrees, and layer 1 departs, at step 4"
    assert (
        diagnose(trial, rung, row).places[0] == f"the outputs depart at step 4 of 0 to {T - 1}; the 4 before it agree"
    )


def test_a_dropped_gradient_fails_in_the_gradients_alone(tmp_path: Path) -> None:
    file = made(tmp_path)
    with planted(("numpy_impl/lstm", *DROPPED)) as package:
        mutant = importlib.import_module(f"{package}.backend").BACKEND
        found = all_trials(plan(opened(file), {"mutant": mutant}, x=file.x))
    assert failing(found) == {"mutant": {"gradient", "complex step"}}
    trial, rung, row = first_failure(found, "dx")
    assert diagnose(trial, rung, row).places == (f"dx departs at the last step, {T - 1}",)


def test_the_last_step_at_which_dx_agrees_is_counted_from_the_end(tmp_path: Path) -> None:
    file = made(tmp_path)
    found = all_trials(plan(opened(file), x=file.x))
    (rung,) = (rung for rung in found[0].rungs if rung.check == "gradient")
    wrong = dict(rung.results["numpy"])
    wrong["dx"] = wrong["dx"].copy()
    wrong["dx"][:3, 1] += 1e-2
    row = next(row for row in rung.rows if row.quantity == "dx" and (row.a, row.b) == ("numpy", EXACT))
    places = diagnose(found[0], rung._replace(results={**rung.results, "numpy": wrong}), row).places
    assert places == (
        f"dx agrees from the last step, {T - 1}, back to step 3, and departs at step 2",
        "wrong in 1 of 3 sequences: 1",
    )


def reordered(module: Any, order: str) -> Any:
    """The same module, its blocks put in another order than i f g o or r z n."""
    letters = "ifgo" if len(order) == 4 else "rzn"
    state = {}
    for name, value in module.state_dict().items():
        blocks = dict(zip(letters, value.chunk(len(order)), strict=True))
        state[name] = torch.cat([blocks[letter] for letter in order])
    module.load_state_dict(state)
    return module


MISTAKES = [
    ("LSTM", {}, lambda m, x: {**run(m, x), "h_n": run(m, x[:-2])["h_n"]}, "after step 4, not 6"),
    ("LSTM", {}, lambda m, x: run(reordered(m, "iofg"), x), "the order i g o f, where the file was read as i f g o"),
    ("LSTM", {"num_layers": 2}, lambda m, x: run(reordered(m, "igfo"), x), "the order i g f o (that of Haiku"),
    ("GRU", {}, lambda m, x: run(reordered(m, "zrn"), x), "the order z r n (that of Keras and ONNX"),
    (
        "LSTM",
        {},
        lambda m, x: {**run(m, x), "h_n": run(m, x[:-1])["h_n"], "c_n": run(m, x[:-1])["c_n"]},
        "after step 5, not 6",
    ),
    (
        "LSTM",
        {},
        lambda m, x: {"y": run(m, x)["y"], "h_n": run(m, x)["c_n"], "c_n": run(m, x)["h_n"]},
        "h_n and c_n are exchanged",
    ),
    ("RNN", {}, lambda m, x: run(relu(m), x), "--nonlinearity relu"),
    ("RNN", {"bidirectional": True}, lambda m, x: {"y": flipped(run(m, x)["y"])}, "the order in which it was computed"),
    ("LSTM", {}, lambda m, x: run(forgetful(m), x), "1 was added to the bias of the forget gate"),
    ("LSTM", {}, lambda m, x: run(without(m, "bias_hh_l0"), x), "bias_hh was left out"),
]


def relu(module: Any) -> Any:
    other = torch.nn.RNN(module.input_size, module.hidden_size, nonlinearity="relu")
    other.load_state_dict(module.state_dict())
    return other


def flipped(y: np.ndarray) -> np.ndarray:
    return np.concatenate([y[..., :H], y[::-1, :, H:]], axis=-1)


@torch.no_grad()
def forgetful(module: Any) -> Any:
    module.bias_ih_l0[H : 2 * H] += 1
    return module


@torch.no_grad()
def without(module: Any, name: str) -> Any:
    getattr(module, name).zero_()
    return module


@pytest.mark.parametrize(("cell", "options", "mistake", "text"), MISTAKES)
def test_a_known_mistake_in_what_was_recorded_is_named(
    cell: str, options: dict[str, Any], mistake: Any, text: str, tmp_path: Path
) -> None:
    file = made(tmp_path, cell, **options)
    recorded = mistake(file.module, torch.tensor(file.x))
    found = all_trials(plan(opened(file), {}, x=file.x, recorded=recorded))
    assert set(failing(found)) == {EXPECTED}
    quantity = next(name for name in ("y", "h_n") if not np.array_equal(recorded[name], file.outputs[name]))
    trial, rung, _ = first_failure(found, quantity)
    assert text in explanation(trial, opened(file).layer.layout, rung.results[EXPECTED], rung.bounds)


def test_one_wrong_element_is_found_and_not_explained_away(tmp_path: Path) -> None:
    file = made(tmp_path)
    y = file.outputs["y"].copy()
    y[4, 1, 3] += 1e-3
    found = all_trials(plan(opened(file), {}, x=file.x, recorded={**file.outputs, "y": y}))
    trial, rung, row = first_failure(found, "y")
    told = diagnose(trial, rung, row)
    assert (told.beyond, told.elements) == (1, y.size)
    assert [one.place for one in told.worst] == [(4, 1, 3)]
    assert told.worst[0].a == pytest.approx(float(y[4, 1, 3]))
    assert abs(told.worst[0].b - file.outputs["y"][4, 1, 3]) < 1e-6
    assert told.places == (
        f"the outputs depart at step 4 of 0 to {T - 1}; the 4 before it agree; no other step is wrong",
        f"wrong in 1 of {B} sequences: 1",
    )
    assert explanation(trial, opened(file).layer.layout, rung.results[EXPECTED], rung.bounds) == ""
    assert all(len(line) <= 78 for line in told.histogram)
    assert sum(int(line.split()[-1].replace(",", "")) for line in told.histogram if "bound" not in line) == y.size
    assert not is_proved([row.record() for trial in found for row in trial.rows])


class Loaded:
    """torch.nn itself as the library that owns the file; ``names`` are those under which it gives gradients."""

    def __init__(self, module: Any, names: dict[str, str]):
        self.module, self.names = module, names

    def forward(self, x: np.ndarray, state0: Any, lengths: Any = None) -> Any:
        with torch.no_grad():
            y, state = self.module(torch.tensor(x), tuple(map(torch.tensor, state0)))
        return y.numpy(), tuple(part.numpy() for part in state)

    def vjp(self, x: np.ndarray, state0: Any, dy: np.ndarray, dstate: Any, lengths: Any = None) -> PeerGradients:
        given = [torch.tensor(part, requires_grad=True) for part in (x, *state0)]
        params = dict(self.module.named_parameters())
        y, state = self.module(given[0], tuple(given[1:]))
        loss = (y * torch.tensor(dy)).sum() + sum(
            (a * torch.tensor(b)).sum() for a, b in zip(state, dstate, strict=True)
        )
        grads = [grad.numpy() for grad in torch.autograd.grad(loss, [*given, *params.values()])]
        arrays = {self.names[name]: grad for name, grad in zip(params, grads[3:], strict=True)}
        return PeerGradients(arrays, grads[0], tuple(grads[1:3]))


class Peer:
    name, has_gradients = "library", True
    dtypes, options = frozenset({"float32"}), frozenset({"lengths"})


@pytest.mark.parametrize("is_wrong", [False, True])
def test_the_library_that_owns_the_file_is_compared_under_its_own_names(is_wrong: bool, tmp_path: Path) -> None:
    file = made(tmp_path)
    names = {name: f"rnn.{name}" for name in file.module.state_dict()}
    if is_wrong:  # the gradient of one array given for that of another of the same shape
        names |= {"bias_ih_l0": "rnn.bias_hh_l0", "bias_hh_l0": "rnn.bias_ih_l0", "weight_ih_l0": "rnn.weight_ih_l0"}
        file.module.bias_ih_l0.register_hook(lambda grad: grad * 1.001)
    peer: Any = Peer()
    loaded: Any = Loaded(file.module, names)
    asked = plan(opened(file), dtypes=("float32", "float64"))._replace(guest=Guest("library", peer, loaded))
    found = all_trials(asked)
    rows = [row for trial in found for row in trial.rows if row.a == "library"]
    assert {row.variant.spec.dtype for row in rows} == {"float32"}, "the dtype of the file"
    assert {row.b for row in rows} == {"numpy", "torch", EXACT}
    grads = {f"d(rnn.{name})" for name in file.module.state_dict()}
    assert {row.quantity for row in rows if row.check == "gradient"} == grads | {"dx", "dh_0", "dc_0"}
    assert {row.quantity for row in rows if row.verdict == FAILED} == ({"d(rnn.bias_hh_l0)"} if is_wrong else set())


def test_what_16_bits_cannot_decide_is_decided_by_another_dtype(tmp_path: Path) -> None:
    file = made(tmp_path, dtype=torch.bfloat16)
    subject = opened(file)
    assert subject.usual_dtypes() == ("bfloat16", "float64")
    backends = {"torch": plan(subject).backends["torch"]}
    found = all_trials(plan(subject, backends, dtypes=subject.usual_dtypes()))
    rows = [row.record() for trial in found for row in trial.rows]
    assert "undecided" in {row["verdict"] for row in rows}
    assert not unseen(rows)
    assert is_proved(rows)
    assert "undecided in bfloat16" in verdict(subject, rows)
    alone = [row for row in rows if row["dtype"] == "bfloat16"]
    assert unseen(alone)
    assert not is_proved(alone)
