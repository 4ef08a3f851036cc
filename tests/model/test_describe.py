"""A description against the modules: its names, shapes, equations as text, roles and notes."""

import re
from typing import Any

import torch

import torch_impl
from common.model.describe import describe
from common.model.spec import ModelSpec
from tests.model.described import B, Case, H, I, P, T, every, run
from tests.refusals import refused


@every
def test_the_constructor_builds_the_same_module(case: Case) -> None:
    found, ours = case.module(), eval(case.full.constructor, {"torch": torch, "torch_impl": torch_impl})
    assert type(ours) is type(found)
    assert any("torch.nn has no such module" in note for note in case.full.notes) != case.in_torch

    def settings(module: Any) -> dict[str, Any]:
        return {name: value for name, value in vars(module).items() if isinstance(value, str | int | float)}

    assert settings(ours) == settings(found)
    shown = re.findall(r"(\w+)=", case.full.constructor)
    assert sorted(shown) == sorted(case.arguments), "an argument is shown exactly if it is not the default"


@every
def test_parameters_are_those_of_torch(case: Case) -> None:
    theirs = [(name, tuple(value.shape), value.numel()) for name, value in case.module().named_parameters()]
    assert [(row.name, row.shape, row.count) for row in case.full.parameters] == theirs
    assert case.full.total == sum(count for _, _, count in theirs)


@every
def test_shapes_are_those_of_torch(case: Case) -> None:
    result = run(case, case.module())
    states, after = ("h", "c")[: len(result.before)], "1" if case.is_cell else "n"
    theirs = {"input": result.x, **{f"{name}_0": value for name, value in zip(states, result.before, strict=True)}}
    if result.output is not None:
        theirs["output"] = result.output
    theirs |= {f"{name}_{after}": value for name, value in zip(states, result.after, strict=True)}
    assert list(case.full.shapes.items()) == [(name, tuple(value.shape)) for name, value in theirs.items()]


@every
def test_letters_stand_where_no_number_is_given(case: Case) -> None:
    numbers, found = {"T": T, "B": B}, case.describe()
    filled = {name: tuple(numbers.get(str(n), n) for n in shape) for name, shape in found.shapes.items()}
    assert filled == case.full.shapes
    letters = {n for shape in found.shapes.values() for n in shape if isinstance(n, str)}
    assert letters == {"T"} - {"T" if case.is_cell else ""} | ({"B"} if case.batched else set())
    assert {note[0] for note in found.notes if re.match(r"[TB] is the number of ", note)} == letters
    assert found.parameters == case.full.parameters


@every
def test_equations_name_the_symbols_of_the_table_and_no_other(case: Case) -> None:
    found = case.full
    text = "\n".join(found.equations)
    assert {row.role.split(":")[0].split(",")[0] for row in found.parameters} == set(re.findall(r"[Wb]_\w\w", text))
    assert ("reverse" in text) == bool(case.arguments.get("bidirectional"))
    assert ("h_(t+1)" in text) == bool(case.arguments.get("bidirectional"))
    assert ("layer k > 0" in text) == (case.arguments.get("num_layers", 1) > 1)
    assert ("m_t * " in text) == (case.arguments.get("dropout", 0) > 0)


def test_the_lines_that_join_directions_and_layers() -> None:
    """What the solver of the equations does in its own loops is said in words."""
    lines = Case("LSTM", {"num_layers": 3, "bidirectional": True, "dropout": 0.5}).full.equations
    assert lines[0] == "in each layer, with its own weights, forward, for t = 1..6, from h_0 and c_0 (given or zero):"
    assert lines[8:] == [
        "reverse, for t = 6..1: the same with its own weights, its own h_0 and c_0,",
        "  and h_(t+1) and c_(t+1) in place of h_(t-1) and c_(t-1)",
        "y_t = [h_t forward, h_t reverse], side by side",
        "x_t of layer 0 is the input",
        "x_t of layer k > 0 is m_t * y_t of layer k-1",
        "m_t in training: each element 0 with probability 0.5, else 1/(1 - 0.5); in evaluation all 1",
        "output is y_t of layer 2 for every t",
    ]
    plain = Case("RNN", {"bias": False}).describe().equations
    assert plain == [
        "for t = 1..T, from h_0 (given or zero):",
        "  h_t = tanh(W_ih x_t + W_hh h_(t-1))",
        "output is h_t for every t",
    ]


def test_a_role_says_the_layer_the_direction_and_what_is_read() -> None:
    found = {row.name: row.role for row in Case("LSTM", {"num_layers": 2, "bidirectional": True}).full.parameters}
    assert found["weight_ih_l0"] == "W_ih, layer 0 forward: reads x_t, the input"
    assert found["weight_ih_l1_reverse"] == "W_ih, layer 1 reverse: reads x_t, output of layer 0"
    assert found["weight_hh_l1"] == "W_hh, layer 1 forward: reads the state h_(t-1)"
    assert found["weight_hh_l1_reverse"] == "W_hh, layer 1 reverse: reads the state h_(t+1)"
    assert found["bias_hh_l0_reverse"] == "b_hh, layer 0 reverse: added to W_hh h_(t+1)"
    reset = {row.name: row.role for row in Case("GRU", {"reset_after": False, "bidirectional": True}).full.parameters}
    assert reset["weight_hh_l0_reverse"] == "W_hh, layer 0 reverse: reads h_(t+1); for n_t, s_t"
    assert [row.role for row in Case("RNNCell", {"bias": False}).full.parameters] == [
        "W_ih: reads x, the input",
        "W_hh: reads the state h_0",
    ]


def test_notes_name_what_is_particular() -> None:
    def notes(cell: str, batched: bool = True, **arguments: Any) -> str:
        return "\n".join(Case(cell, arguments, batched).full.notes)

    assert "The 20 rows of W_ih, W_hh and the biases are the gates i, f, g, o in this order, 5 rows each." in notes(
        "LSTM"
    )
    assert "biases" not in notes("LSTM", bias=False)
    assert "gates" not in notes("RNN")
    assert "are the gates r, z, n in this order" in notes("GRU")
    assert "are the gates i, g, o in this order" in notes("LSTM1997Cell")
    inner = "b_hn, the last 5 numbers of b_hh, is multiplied by r_t, so b_ih cannot take it in."
    before = {"reset_after": False}
    for arguments, held in (({}, True), ({"bias": False}, False), (before, False)):
        assert (inner in notes("GRU", **arguments)) == held
        assert ("r_t acts after the product" in notes("GRU", **arguments)) == (arguments != before)
        assert ("r_t acts before the product" in notes("GRU", **arguments)) == (arguments == before)
    assert all(("there is no c." in notes(cell)) == (cell == "GRU") for cell in ("RNN", "LSTM", "GRU", "LSTM1997"))
    assert all(("no forget gate" in notes(cell)) == (cell == "LSTM1997") for cell in ("LSTM", "GRU", "LSTM1997"))
    assert "makes h and each direction of output 3 wide; c keeps 5" in notes("LSTM", proj_size=P)
    assert "projection" not in notes("LSTM")
    assert "There is no output: RNNCell returns the new state" in notes("RNNCell")
    assert "There is no output" not in notes("RNN")
    assert "Row 2k " in notes("RNN", bidirectional=True)
    assert "Row 2k " not in notes("RNN", num_layers=2)
    assert "batch_first changes nothing" in notes("RNN", batched=False, batch_first=True)
    assert "batch_first" not in notes("RNN", batch_first=True)
    assert "Dropout" not in notes("RNN", num_layers=2, dropout=0.5)


def test_describe_refuses_a_size_that_is_no_size() -> None:
    spec = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
    with refused("seq_len", "1", got=0):
        describe(spec, steps=0)
