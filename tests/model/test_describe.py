"""``rosetta describe`` against the modules of torch.nn: every number, equation and relation that it shows."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch

from common.cli import main
from common.model.describe import Description, describe
from common.model.spec import ModelSpec
from tests.refusals import refused

# All sizes differ, so that no axis can stand for another.
I, H, P, T, B = 2, 5, 3, 6, 4
LENGTHS = (6, 3, 1, 4)


class Case(NamedTuple):
    """A constructor call of torch.nn, and whether x has an axis of sequences."""

    cell: str
    arguments: dict[str, Any]
    batched: bool = True

    def describe(self, steps: int | None = None, batch: int | None = None) -> Description:
        arguments = dict(self.arguments)
        batch_first = arguments.pop("batch_first", False)
        spec = ModelSpec(cell=self.cell, input_size=I, hidden_size=H, **arguments)
        return describe(spec, steps=steps, batch=batch, batch_first=batch_first, batched=self.batched)

    def module(self) -> Any:
        torch.manual_seed(1)
        return getattr(torch.nn, self.cell)(I, H, dtype=torch.float64, **self.arguments)

    @property
    def is_cell(self) -> bool:
        return self.cell.endswith("Cell")

    @property
    def full(self) -> Description:
        """With the numbers T and B."""
        return self.describe(None if self.is_cell else T, B if self.batched else None)


CASES = [
    Case("RNN", {}),
    Case("RNN", {}, batched=False),
    Case("RNN", {"nonlinearity": "relu", "batch_first": True}),
    Case("RNN", {"num_layers": 3, "bias": False}),
    Case("RNN", {"num_layers": 2, "dropout": 0.5, "batch_first": True}),
    Case("RNN", {"bidirectional": True, "nonlinearity": "relu"}),
    Case("RNN", {"bidirectional": True}, batched=False),
    Case("RNN", {"bidirectional": True, "num_layers": 2, "batch_first": True, "dropout": 0.25}),
    Case("RNN", {"num_layers": 2, "batch_first": True}, batched=False),
    Case("RNNCell", {}),
    Case("RNNCell", {"bias": False}, batched=False),
    Case("RNNCell", {"nonlinearity": "relu"}),
    Case("LSTM", {}),
    Case("LSTM", {"bias": False, "batch_first": True}),
    Case("LSTM", {"num_layers": 3, "bidirectional": True}),
    Case("LSTM", {"proj_size": P}),
    Case("LSTM", {"proj_size": P, "num_layers": 2, "batch_first": True}),
    Case("LSTM", {"proj_size": P, "num_layers": 3, "bidirectional": True, "dropout": 1.0}, batched=False),
    Case("LSTM", {"proj_size": P, "num_layers": 2, "bidirectional": True, "bias": False, "dropout": 0.5}),
    Case("LSTM", {"bidirectional": True, "batch_first": True}),
    Case("LSTMCell", {}),
    Case("LSTMCell", {"bias": False}, batched=False),
]
every = pytest.mark.parametrize("case", CASES, ids=str)
sequences = pytest.mark.parametrize("case", [case for case in CASES if not case.is_cell], ids=str)


class Run(NamedTuple):
    """One call of a module; all states as tuples (h,) or (h, c)."""

    x: torch.Tensor
    before: tuple[torch.Tensor, ...]
    output: torch.Tensor | None
    after: tuple[torch.Tensor, ...]

    @property
    def names(self) -> dict[str, Any]:
        """What the expressions of the relations and of the notes speak of."""
        return {"output": self.output, **dict(zip(("h_n", "c_n"), self.after, strict=False))}


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def run(case: Case, module: Any, steps: int = T, lengths: tuple[int, ...] | None = None) -> Run:
    """The module in a random state on random input, whose shapes are written out here; ``lengths`` packs the batch."""
    torch.manual_seed(2)
    batch = (B,) if case.batched else ()
    first = case.arguments.get("batch_first", False)
    time, rows = (steps,), case.arguments.get("num_layers", 1) * (2 if case.arguments.get("bidirectional") else 1)
    lead = batch if case.is_cell else batch + time if first else time + batch
    x: Any = random(*lead, I)
    sizes = [case.arguments.get("proj_size") or H] + [H] * case.cell.startswith("LSTM")
    before = tuple(random(*(() if case.is_cell else (rows,)), *batch, size) for size in sizes)
    if lengths:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), first, enforce_sorted=False)
    hx = before if len(before) == 2 else before[0]
    found = module(x, hx)
    output: Any
    output, after = (None, found) if case.is_cell else found
    if lengths:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, first)
    return Run(x, before, output, after if isinstance(after, tuple) else (after,))


@every
def test_the_constructor_builds_the_same_module(case: Case) -> None:
    found, ours = case.module(), eval(case.full.constructor, {"torch": torch})
    assert type(ours) is type(found)

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


def solve(equations: list[str], values: dict[str, Any]) -> dict[str, Any]:
    """Compute the lines ``symbol = formula`` one after another; vectors are columns, as in the text."""
    functions = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
    for line in equations:
        if found := re.fullmatch(r"\s*([aifgoch](?:_[t1])?) = (.*?)(   .*)?", line):
            code = re.sub(r"(W_\w\w) ", r"\1 @ ", found[2]).replace("_(t-1)", "_before")
            values[found[1]] = eval(code, functions | values)
    return values


def columns(value: torch.Tensor) -> torch.Tensor:
    return value.reshape(-1, value.shape[-1]).T


def weights(module: Any, suffix: str) -> dict[str, torch.Tensor]:
    """By the symbols of the equations."""
    found = dict(module.named_parameters())
    symbols = {"W_ih": "weight_ih", "W_hh": "weight_hh", "W_hr": "weight_hr", "b_ih": "bias_ih", "b_hh": "bias_hh"}
    named = {symbol: found.get(name + suffix) for symbol, name in symbols.items()}
    return {s: value[:, None] if value.ndim == 1 else value for s, value in named.items() if value is not None}


def layer(equations: list[str], module: Any, suffix: str, xs: list[Any], before: list[Any]) -> tuple[list[Any], ...]:
    """One direction of one layer by the equations: every h, and the final states."""
    hs, states = [], before
    for x in xs:
        given = dict(zip(("h_before", "c_before"), states, strict=False))
        found = solve(equations, {"x_t": x, **given, **weights(module, suffix)})
        states = [found[f"{name}_t"] for name in "hc"[: len(states)]]
        hs.append(states[0])
    return hs, states


@sequences
def test_the_equations_compute_what_torch_computes(case: Case) -> None:
    module = case.module().eval()
    result, equations, directions = run(case, module), case.full.equations, 2 if module.bidirectional else 1
    assert result.output is not None
    x, output = result.x, result.output
    if module.batch_first and case.batched:
        x, output = x.transpose(0, 1), output.transpose(0, 1)
    xs = [columns(value) for value in x]
    for k in range(module.num_layers):
        hs = []
        for d, suffix in enumerate(("", "_reverse")[:directions]):
            row = directions * k + d
            order = xs[::-1] if d else xs
            ys, final = layer(equations, module, f"_l{k}{suffix}", order, [columns(s[row]) for s in result.before])
            for ours, theirs in zip(final, result.after, strict=True):
                torch.testing.assert_close(ours, columns(theirs[row]))
            hs.append(ys[::-1] if d else ys)
        xs = [torch.cat(sides) for sides in zip(*hs, strict=True)]
    for ours, theirs in zip(xs, output, strict=True):
        torch.testing.assert_close(ours, columns(theirs))


@pytest.mark.parametrize("case", [case for case in CASES if case.is_cell], ids=str)
def test_the_equations_of_a_cell_compute_what_torch_computes(case: Case) -> None:
    module = case.module()
    result = run(case, module)
    values = {"x": columns(result.x)} | {f"{n}_0": columns(s) for n, s in zip("hc", result.before, strict=False)}
    found = solve(case.full.equations, values | weights(module, ""))
    for name, theirs in zip("hc", result.after, strict=False):
        torch.testing.assert_close(found[f"{name}_1"], columns(theirs))


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
    assert [row.role for row in Case("RNNCell", {"bias": False}).full.parameters] == [
        "W_ih: reads x, the input",
        "W_hh: reads the state h_0",
    ]


@pytest.mark.parametrize("dropout", [0.25, 1.0])
def test_the_dropout_mask_is_what_its_line_says(dropout: float) -> None:
    """Layer 1 passes its input on, so output / output of layer 0 is the mask."""
    case = Case("RNN", {"num_layers": 2, "bias": False, "nonlinearity": "relu", "dropout": dropout})
    module = case.module()
    with torch.no_grad():
        module.weight_ih_l1 = torch.nn.Parameter(torch.eye(H, dtype=torch.float64))
        module.weight_hh_l1.zero_()
    x = random(200, B, I)
    masked, plain = module(x)[0], module.eval()(x)[0]
    (line,) = [line for line in case.full.equations if line.startswith("m_t ")]
    probability, kept = re.findall(r"0 with probability ([\d.]+)(?:, else (.*?))?;", line)[0]
    mask = (masked / plain)[plain > 0]
    values = [0.0, eval(kept)] if kept else [0.0]
    near = torch.stack([torch.isclose(mask, torch.full_like(mask, value)) for value in values])
    assert near.any(0).all()
    assert near.any(1).all()
    assert abs(float((mask == 0).double().mean()) - float(probability)) < 0.05


def expressions(case: Case, steps: int, lengths: tuple[int, ...]) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Both sides of every relation that holds for a batch with these lengths; those with n once a sequence."""
    module = case.module()
    ragged = len(set(lengths)) > 1
    names = run(case, module, steps, lengths if ragged else None).names | {"lengths": lengths}
    relations = case.describe(steps if steps == 1 else None).relations
    for relation in relations:
        uses_n = "lengths" in relation.left
        if ragged and not uses_n and relation.left.startswith(("output[-1]", "output[:, -1]")):
            continue
        for n in range(len(lengths)) if uses_n else (0,):
            values = names | {"n": n}
            yield f"{relation.left} == {relation.right}", eval(relation.left, values), eval(relation.right, values)


@sequences
@pytest.mark.parametrize("steps", [T, 1])
def test_every_relation_holds_in_torch(case: Case, steps: int) -> None:
    found = list(expressions(case, steps, (steps,) * B))
    assert len({text for text, _, _ in found}) == (2 if case.arguments.get("bidirectional") else 1) + case.batched
    for text, left, right in found:
        assert left.numel() > 0, text
        torch.testing.assert_close(left, right, rtol=0, atol=0, msg=text)


@pytest.mark.parametrize("case", [case for case in CASES if case.batched and not case.is_cell], ids=str)
def test_every_relation_holds_in_torch_for_ragged_lengths(case: Case) -> None:
    found = list(expressions(case, T, LENGTHS))
    assert sum("lengths" in text for text, _, _ in found) == B
    for text, left, right in found:
        torch.testing.assert_close(left, right, rtol=0, atol=0, msg=text)
    names = run(case, case.module(), T, LENGTHS).names
    (note,) = [note for note in case.full.notes if note.startswith("In a packed batch, ")]
    shown = re.findall(r"(output\[.*\]) is zero", note)[0]
    assert [bool(row.any()) for row in eval(shown, names)] == [length == max(LENGTHS) for length in LENGTHS]


def occurs(state: torch.Tensor, run: Run) -> bool:
    """Whether some row of ``state`` stands anywhere in the output."""
    assert run.output is not None
    size = state.shape[-1]
    pieces = (
        run.output.unfold(-1, size, 1).reshape(-1, size) if size <= run.output.shape[-1] else state.new_empty(0, size)
    )
    return any(bool(torch.isclose(pieces, row).all(-1).any()) for row in state.reshape(-1, size))


@sequences
def test_what_the_notes_say_output_does_not_show_is_not_in_it(case: Case) -> None:
    module = case.module()
    result, notes = run(case, module), case.full.notes
    assert occurs(result.after[0], result), "the search finds what is there"
    below = [note.split(" is ")[0] for note in notes if "output never shows it" in note]
    assert len(below) == (module.num_layers > 1)
    for expression in below:
        hidden = eval(expression, result.names)
        assert len(hidden) == (module.num_layers - 1) * (2 if module.bidirectional else 1)
        assert not occurs(hidden, result)
    assert ("c_n is never a part of output." in notes) == (case.cell == "LSTM")
    if case.cell == "LSTM":
        assert not occurs(result.after[1], result)


@pytest.mark.parametrize("case", [case for case in CASES if case.arguments.get("bidirectional")], ids=str)
def test_the_reverse_half_of_the_last_output_is_one_step_old(case: Case) -> None:
    """The last layer alone, with its own weights, on its last input alone."""
    module = case.module().eval()
    result = run(case, module)
    (note,) = [note for note in case.full.notes if "first step only" in note]
    shown = eval(note.split(" is ")[0], result.names)
    assert not torch.isclose(shown, result.after[0][-1]).all(-1).any()
    arguments = {k: v for k, v in case.arguments.items() if k not in ("num_layers", "dropout", "batch_first")}
    top = module.num_layers - 1
    x = result.x.transpose(0, 1) if module.batch_first and case.batched else result.x
    if top:
        below = getattr(torch.nn, case.cell)(I, H, dtype=torch.float64, num_layers=top, **arguments)
        below.load_state_dict({k: v for k, v in module.state_dict().items() if f"_l{top}" not in k})
        states = tuple(state[: 2 * top] for state in result.before)
        x = below(x, states if len(states) == 2 else states[0])[0]
    last = getattr(torch.nn, case.cell)(x.shape[-1], H, dtype=torch.float64, **arguments)
    own = {k.replace(f"_l{top}", "_l0"): v for k, v in module.state_dict().items() if f"_l{top}" in k}
    last.load_state_dict(own)
    states = tuple(state[2 * top :] for state in result.before)
    _, final = last(x[-1:], states if len(states) == 2 else states[0])
    torch.testing.assert_close(shown, (final[0] if len(states) == 2 else final)[1])
    assert not any("first step only" in note for note in case.describe(steps=1).notes)


def test_notes_name_what_is_particular() -> None:
    def notes(cell: str, batched: bool = True, **arguments: Any) -> str:
        return "\n".join(Case(cell, arguments, batched).full.notes)

    assert "The 20 rows of W_ih, W_hh and the biases are the gates i, f, g, o in this order, 5 rows each." in notes(
        "LSTM"
    )
    assert "biases" not in notes("LSTM", bias=False)
    assert "gates" not in notes("RNN")
    assert "makes h and each direction of output 3 wide; c keeps 5" in notes("LSTM", proj_size=P)
    assert "projection" not in notes("LSTM")
    assert "There is no output: RNNCell returns the new state" in notes("RNNCell")
    assert "There is no output" not in notes("RNN")
    assert "Row 2k " in notes("RNN", bidirectional=True)
    assert "Row 2k " not in notes("RNN", num_layers=2)
    assert "batch_first changes nothing" in notes("RNN", batched=False, batch_first=True)
    assert "batch_first" not in notes("RNN", batch_first=True)
    assert "Dropout" not in notes("RNN", num_layers=2, dropout=0.5)


def test_dropout_with_one_layer_does_nothing_and_torch_warns() -> None:
    case = Case("RNN", {"dropout": 0.5})
    with pytest.warns(UserWarning, match="dropout"):
        module = case.module()
    x = random(T, B, I)
    assert torch.equal(module(x)[0], module.eval()(x)[0])
    assert any("with one layer it does nothing, and torch warns" in note for note in case.full.notes)
    assert not any("m_t" in line for line in case.full.equations)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rnn --hidden-size 3", "--input-size: expected a size, as torch.nn.RNN needs it, got none"),
        ("lstmcell --input-size 3", "--hidden-size: expected a size, as torch.nn.LSTMCell needs it, got none"),
        ("rnn --input-size 0 --hidden-size 3", "input_size: expected at least 1, got 0"),
        ("rnncell --input-size 2 --hidden-size 3 --seq-len 4", "seq_len: expected none for RNNCell, which is one step"),
        ("lstmcell --input-size 2 --hidden-size 3 --batch-first", "batch_first: expected False for LSTMCell"),
        ("rnn --input-size 2 --hidden-size 3 --unbatched --batch 4", "batch: expected none for an unbatched input"),
        ("rnn --input-size 2 --hidden-size 3 --proj-size 1", "proj_size: expected 0 for RNN"),
    ],
)
def test_the_command_refuses(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", *arguments.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"rosetta: {message}")
    assert captured.out == ""


def test_describe_refuses_a_size_that_is_no_size() -> None:
    spec = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
    with refused("seq_len", "1", got=0):
        describe(spec, steps=0)


def show(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["describe", *arguments.split()]) == 0
    return capsys.readouterr().out


def test_six_matrices_of_a_rnn_of_three_layers(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("rnn --input-size 2 --hidden-size 3 --num-layers 3 --no-bias", capsys)
    rows = re.findall(r"│ ((?:weight|bias)_\w+) +│ (\([\d, ]+\)) +│ +(\d+) │", out)
    own = [("weight_ih_l0", "(3, 2)", "6"), ("weight_hh_l0", "(3, 3)", "9")]
    above = [(f"weight_{of}_l{k}", "(3, 3)", "9") for k in (1, 2) for of in ("ih", "hh")]
    assert rows == own + above
    assert re.search(r"│ total +│ +│ +51 │", out)
    assert out.startswith("torch.nn.RNN(2, 3, num_layers=3, bias=False)\n")
    assert "  x_t of layer k > 0 is h_t of layer k-1\n" in out


def test_shapes_of_a_lstm_of_two_layers(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("lstm --input-size 10 --hidden-size 20 --num-layers 2 --seq-len 5 --batch 3", capsys)
    for name, shape in (("output", "(5, 3, 20)"), ("h_n", "(2, 3, 20)"), ("c_n", "(2, 3, 20)")):
        assert re.search(rf"│ {name} +│ {re.escape(shape)} +│", out)
    assert "i_t = sigmoid(a_t[0:20])" in out
    assert "output[-1] == h_n[-1]" in out


def test_letters_and_a_shape_of_one_axis_are_written_as_python_does(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("rnncell --input-size 10 --hidden-size 20 --unbatched", capsys)
    assert "(10,)" in out
    assert "h_n" not in out
    assert "equal" not in out
    assert "(B, T, 10)" in show("rnn --input-size 10 --hidden-size 20 --batch-first", capsys)


@pytest.mark.parametrize("cell", ["rnn", "rnncell", "lstm", "lstmcell"])
def test_the_text_fits_100_columns(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = " --num-layers 2 --bidirectional --dropout 0.5 --batch-first --seq-len 100 --batch 64"
    options += " --proj-size 32" if cell == "lstm" else ""
    out = show(f"{cell} --input-size 10 --hidden-size 64{'' if 'cell' in cell else options}", capsys)
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("lstm --input-size 2 --hidden-size 5 --num-layers 2 --seq-len 6 --json", capsys)
    assert out.count("\n") == 1
    record = json.loads(out)
    assert list(record) == ["cell", "constructor", "parameters", "total", "equations", "shapes", "relations", "notes"]
    assert record["cell"] == "LSTM"
    found = Case("LSTM", {"num_layers": 2}).describe(steps=6)
    assert record["parameters"][0] == {"name": "weight_ih_l0", "shape": [20, 2], "count": 40} | {
        "role": found.parameters[0].role
    }
    assert record["total"] == found.total
    assert record["shapes"]["output"] == [6, "B", 5]
    first = found.relations[0]
    assert record["relations"][0] == {"left": "output[-1]", "right": "h_n[-1]", "text": first.text}
    assert record["equations"] == found.equations
    assert record["notes"] == found.notes
