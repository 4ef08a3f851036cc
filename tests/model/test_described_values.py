"""What a description says of values, computed: its equations, relations, dropout and notes against torch.nn."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.model.described import CASES, LENGTHS, B, Case, H, I, Run, T, random, run, sequences


def solve(equations: list[str], values: dict[str, Any]) -> dict[str, Any]:
    """Compute the lines ``symbol = formula`` one after another; vectors are columns, as in the text."""
    functions = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
    for line in equations:
        if found := re.fullmatch(r"\s*([aqirzfgnsoch](?:_[t1])?) = (.*?)(   .*)?", line):
            code = re.sub(r"(W_\w\w(?:\[\d+:\d+\])?) ", r"\1 @ ", found[2]).replace("_(t-1)", "_before")
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
    assert ("c_n is never a part of output." in notes) == ("c" in case.states)
    if "c" in case.states:
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
        below = case.made(I, num_layers=top, **arguments)
        below.load_state_dict({k: v for k, v in module.state_dict().items() if f"_l{top}" not in k})
        states = tuple(state[: 2 * top] for state in result.before)
        x = below(x, states if len(states) == 2 else states[0])[0]
    last = case.made(x.shape[-1], **arguments)
    own = {k.replace(f"_l{top}", "_l0"): v for k, v in module.state_dict().items() if f"_l{top}" in k}
    last.load_state_dict(own)
    states = tuple(state[2 * top :] for state in result.before)
    _, final = last(x[-1:], states if len(states) == 2 else states[0])
    torch.testing.assert_close(shown, (final[0] if len(states) == 2 else final)[1])
    assert not any("first step only" in note for note in case.describe(steps=1).notes)


def test_dropout_with_one_layer_does_nothing_and_torch_warns() -> None:
    case = Case("RNN", {"dropout": 0.5})
    with pytest.warns(UserWarning, match="dropout"):
        module = case.module()
    x = random(T, B, I)
    assert torch.equal(module(x)[0], module.eval()(x)[0])
    assert any("with one layer it does nothing, and torch warns" in note for note in case.full.notes)
    assert not any("m_t" in line for line in case.full.equations)
