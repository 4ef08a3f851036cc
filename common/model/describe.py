"""A model in words, as torch.nn has it: its parameters, its equations, its shapes, and what output and h_n share.

>>> from common.model.describe import describe
>>> from common.model.spec import OTHER_FORMS, ModelSpec
>>> description = describe(ModelSpec(cell="RNNCell", input_size=3, hidden_size=5))
>>> description.total, description.equations
(50, ['h_1 = tanh(W_ih x + b_ih + W_hh h_0 + b_hh)'])
"""

from dataclasses import dataclass
from math import prod

from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes, parameter_shapes
from common.model.spec import OTHER_FORMS, ModelSpec
from common.model.validate import require_positive_int

Axes = tuple[int | str, ...]
# A cell is one step: torch's documentation writes it from h_0 to h_1.
OF_A_CELL = (("h_(t-1)", "h_0"), ("c_(t-1)", "c_0"), ("h_t", "h_1"), ("c_t", "c_1"), ("_t", ""))


@dataclass(frozen=True)
class Parameter:
    """A parameter and the symbol for which it stands in the equations."""

    name: str
    shape: Axes
    count: int
    role: str


@dataclass(frozen=True)
class Relation:
    """Two expressions over what a module returns, which are equal; ``n`` is a sequence of a batch with ``lengths``."""

    left: str
    right: str
    text: str


@dataclass(frozen=True)
class Description:
    """A model in plain data; a shape holds the letters T and B where no number was given."""

    cell: str
    constructor: str
    parameters: list[Parameter]
    total: int
    equations: list[str]
    shapes: dict[str, Axes]
    relations: list[Relation]
    notes: list[str]


def describe(
    spec: ModelSpec,
    *,
    steps: int | None = None,
    batch: int | None = None,
    batch_first: bool = False,
    batched: bool = True,
) -> Description:
    """Describe ``torch.nn.<spec.cell>``, or the module of ``torch_impl`` where torch.nn has none.

    Without ``batched``, x is one sequence (T, I), or (I,) for a cell.

    Raises ``InvalidInput`` for a size below 1 and for options that do not go together.
    """
    for name, value in (("seq_len", steps), ("batch", batch)):
        if value is not None:
            require_positive_int(name, value)
    if spec.is_cell and steps is not None:
        raise InvalidInput(mismatch("seq_len", f"none for {spec.cell}, which is one step", steps))
    if spec.is_cell and batch_first:
        raise InvalidInput(mismatch("batch_first", f"False for {spec.cell}, whose input has no axis of steps", True))
    if not batched and batch is not None:
        raise InvalidInput(mismatch("batch", "none for an unbatched input", batch))
    parameters = [Parameter(name, at, prod(at), _role(spec, name)) for name, at in parameter_shapes(spec).items()]
    shapes = _shapes(spec, steps or "T", ((batch or "B"),) if batched else (), batch_first)
    equations, constructor = _equations(spec, steps or "T"), _constructor(spec, batch_first)
    relations, notes = ([], []) if spec.is_cell else _shared(spec, steps, batch_first, batched)
    notes += _notes(spec, shapes, batch_first, batched)
    total = sum(parameter.count for parameter in parameters)
    return Description(spec.cell, constructor, parameters, total, equations, shapes, relations, notes)


def shape_text(shape: Axes) -> str:
    """A shape as Python writes it, its letters without quotes."""
    return f"({', '.join(str(axis) for axis in shape)}{',' if len(shape) == 1 else ''})"


def _in_torch(spec: ModelSpec) -> bool:
    """Whether torch.nn has a module with these equations; torch_impl has one in any case."""
    return spec.kind.in_torch and not OTHER_FORMS.intersection(spec.options)


def _constructor(spec: ModelSpec, batch_first: bool) -> str:
    defaults = {"num_layers": 1, "nonlinearity": "tanh", "bias": True, "batch_first": False}
    defaults |= {"dropout": 0, "bidirectional": False, "proj_size": 0, "reset_after": True}
    values = vars(spec) | {"batch_first": batch_first}
    given = [f", {name}={values[name]!r}" for name in defaults if values[name] != defaults[name]]
    package = "torch.nn" if _in_torch(spec) else "torch_impl"
    return f"{package}.{spec.cell}({spec.input_size}, {spec.hidden_size}{''.join(given)})"


def _symbols(spec: ModelSpec, text: str) -> str:
    for old, new in OF_A_CELL if spec.is_cell else ():
        text = text.replace(old, new)
    return text


def _role(spec: ModelSpec, name: str) -> str:
    suffix = next(suffix for suffix in reversed(layer_suffixes(spec)) if name.endswith(suffix))
    layer, direction = divmod(layer_suffixes(spec).index(suffix), spec.num_directions)
    where = f", layer {layer}" if spec.state_rows > 1 else ""
    where += (" forward", " reverse")[direction] if spec.bidirectional else ""
    before = "h_(t+1)" if direction else "h_(t-1)"
    symbol, text = {
        "weight_ih": ("W_ih", f"reads x_t, {f'output of layer {layer - 1}' if layer else 'the input'}"),
        "weight_hh": ("W_hh", f"reads the state {before}" if spec.reset_after else f"reads {before}; for n_t, s_t"),
        "bias_ih": ("b_ih", "added to W_ih x_t"),
        "bias_hh": ("b_hh", f"added to W_hh {before}"),
        "weight_hr": ("W_hr", "maps o_t * tanh(c_t) to h_t"),
    }[name.removesuffix(suffix)]
    return _symbols(spec, f"{symbol}{where}: {text}")


def _step(spec: ModelSpec) -> list[str]:
    """One step of one layer in one direction."""
    b_ih, b_hh = (" + b_ih", " + b_hh") if spec.bias else ("", "")
    a = f"W_ih x_t{b_ih} + W_hh h_(t-1){b_hh}"
    if not spec.kind.gates:
        return [_symbols(spec, f"h_t = {spec.nonlinearity}({a})")]
    if "z" in spec.kind.letters:
        return _gru_step(spec)
    kept = "f_t * c_(t-1)" if "f" in spec.kind.letters else "c_(t-1)"
    h = "W_hr (o_t * tanh(c_t))" if spec.proj_size else "o_t * tanh(c_t)"
    arguments = {letter: f"a_t[{_rows(spec, letter)}]" for letter in spec.kind.letters}
    lines = [f"a_t = {a}", *_gates(spec, arguments), f"c_t = {kept} + i_t * g_t", f"h_t = {h}"]
    return [_symbols(spec, line) for line in lines]


def _gru_step(spec: ModelSpec) -> list[str]:
    """The reset gate scales W_hn h + b_hn or, if not ``reset_after``, h before the product with W_hn."""
    b_ih, b_hh = (" + b_ih", " + b_hh") if spec.bias else ("", "")
    r, z, n = (_rows(spec, letter) for letter in spec.kind.letters)
    arguments = {"r": f"a_t[{r}] + q_t[{r}]", "z": f"a_t[{z}] + q_t[{z}]", "n": f"a_t[{n}] + r_t * q_t[{n}]"}
    lines = [f"a_t = W_ih x_t{b_ih}", f"q_t = W_hh h_(t-1){b_hh}"]
    if not spec.reset_after:
        gates = f"0:{2 * spec.hidden_size}"
        bias, inner = (f" + b_hh[{rows}]" if spec.bias else "" for rows in (gates, n))
        lines[1] = f"q_t = W_hh[{gates}] h_(t-1){bias}"
        arguments["n"] = f"a_t[{n}] + W_hh[{n}] s_t{inner}"
    *gates, candidate = _gates(spec, arguments)
    reset = [] if spec.reset_after else ["s_t = r_t * h_(t-1)"]
    lines += [*gates, *reset, candidate, "h_t = (1 - z_t) * n_t + z_t * h_(t-1)"]
    return [_symbols(spec, line) for line in lines]


def _gates(spec: ModelSpec, arguments: dict[str, str]) -> list[str]:
    """The line of every gate, with its name after it; ``arguments`` are what its activation is applied to."""
    gates = spec.kind.gates
    lines = [_symbols(spec, f"{gate.letter}_t = {gate.activation}({arguments[gate.letter]})") for gate in gates]
    width = max(27, *map(len, lines))
    return [f"{line:<{width}}   {gate.name}" for line, gate in zip(lines, gates, strict=True)]


def _rows(spec: ModelSpec, letter: str) -> str:
    """The rows of a gate in every weight and bias."""
    start = spec.kind.letters.index(letter) * spec.hidden_size
    return f"{start}:{start + spec.hidden_size}"


def _equations(spec: ModelSpec, last: int | str) -> list[str]:
    if spec.is_cell:
        return _step(spec)
    top = spec.num_layers - 1
    states, y = " and ".join(f"{name}_0" for name in spec.state_names), "y_t" if spec.bidirectional else "h_t"
    where = "in each layer, with its own weights, " if top else ""
    where += "forward, " if spec.bidirectional else ""
    lines = [f"{where}for t = 1..{last}, from {states} (given or zero):", *(f"  {line}" for line in _step(spec))]
    if spec.bidirectional:
        later, earlier = (" and ".join(f"{name}_(t{sign}1)" for name in spec.state_names) for sign in "+-")
        lines.append(f"reverse, for t = {last}..1: the same with its own weights, its own {states},")
        lines += [f"  and {later} in place of {earlier}", "y_t = [h_t forward, h_t reverse], side by side"]
    if top:
        mask = "m_t * " if spec.dropout else ""
        lines += ["x_t of layer 0 is the input", f"x_t of layer k > 0 is {mask}{y} of layer k-1"]
        if spec.dropout:
            kept = "" if spec.dropout == 1 else f", else 1/(1 - {spec.dropout})"
            lines.append(f"m_t in training: each element 0 with probability {spec.dropout}{kept}; in evaluation all 1")
    return [*lines, f"output is {y}{f' of layer {top}' if top else ''} for every t"]


def _shapes(spec: ModelSpec, steps: int | str, batch: Axes, batch_first: bool) -> dict[str, Axes]:
    """``batch`` is the axis of the sequences, or nothing."""
    time, rows = ((), ()) if spec.is_cell else ((steps,), (spec.state_rows,))
    lead = (*batch, *time, spec.input_size) if batch_first else (*time, *batch, spec.input_size)
    states = {name: (*rows, *batch, size) for name, size in zip(spec.state_names, spec.state_sizes, strict=True)}
    before = {f"{name}_0": shape for name, shape in states.items()}
    after = {f"{name}_{'1' if spec.is_cell else 'n'}": shape for name, shape in states.items()}
    return {"input": lead} | before | ({} if spec.is_cell else {"output": (*lead[:-1], spec.output_size)}) | after


def _shared(spec: ModelSpec, steps: int | None, batch_first: bool, batched: bool) -> tuple[list[Relation], list[str]]:
    """What output and h_n have in common, and notes on where they differ."""
    width, top = spec.state_sizes[0], "last layer, " if spec.num_layers > 1 else ""
    time, side = ":, " if batch_first and batched else "", ":, " if batched else ""
    last, forward, row, notes = f"output[{time}-1]", "", -1 if top else 0, []
    relations = [Relation(last, f"h_n[{row}]", f"{top}after the last step")]
    if spec.bidirectional:
        forward, row, end = f", :{width}", -2, f"output[{time}0][{side}{width}:]"
        relations = [
            Relation(f"{last}[{side}:{width}]", "h_n[-2]", f"{top}forward, after its last step, t = {steps or 'T'}"),
            Relation(end, "h_n[-1]", f"{top}reverse, after its last step, t = 1"),
        ]
        if steps != 1:
            notes.append(f"{last}[{side}{width}:] is the reverse direction after its first step only, not h_n[-1].")
    if batched:
        at = "n, lengths[n] - 1" if batch_first else "lengths[n] - 1, n"
        relations.append(Relation(f"output[{at}{forward}]", f"h_n[{row}, n]", "packed sequence n, last valid step"))
        notes.append(f"In a packed batch, {last} is zero for every sequence shorter than the longest.")
    if top:
        below = spec.state_rows - spec.num_directions
        notes.append(f"h_n[:{below}] is the final state of the layers below; output never shows it.")
    notes += [f"{name}_n is never a part of output." for name in spec.state_names[1:]]
    return relations, notes


def _notes(spec: ModelSpec, shapes: dict[str, Axes], batch_first: bool, batched: bool) -> list[str]:
    size, one = spec.hidden_size, spec.num_layers == 1
    letters = ", ".join(spec.kind.letters)
    matrices = "W_ih, W_hh and the biases" if spec.bias else "W_ih and W_hh"
    rows = f"The {spec.num_blocks * size} rows of {matrices} are the gates {letters} in this order, {size} rows each."
    last = f"the last {size} numbers of b_hh"
    paper = "GRU of Cho et al. (2014)" if spec.kind.in_torch else "LSTM of Hochreiter & Schmidhuber (1997)"
    is_gru = "z" in spec.kind.letters
    narrow = f"The projection makes h and each direction of output {spec.proj_size} wide; c keeps {size}."
    notes = {
        f"There is no output: {spec.cell} returns the new state, and the caller loops over the steps.": spec.is_cell,
        "T is the number of steps.": "T" in shapes["input"],
        "B is the number of sequences.": "B" in shapes["input"],
        rows: bool(spec.kind.gates),
        f"torch.nn has no such module: this is torch_impl's, the {paper}.": not _in_torch(spec),
        "r_t acts after the product with W_hh: it scales the rows of q_t that n_t reads.": is_gru and spec.reset_after,
        "r_t acts before the product with W_hh, in the rows of W_hh for n_t.": is_gru and not spec.reset_after,
        f"b_hn, {last}, is multiplied by r_t, so b_ih cannot take it in.": is_gru and spec.reset_after and spec.bias,
        "h is the only state, of which z_t is the share that is kept; there is no c.": is_gru,
        "There is no forget gate, so c is never scaled down: torch.nn.LSTM with f_t = 1.": not spec.kind.in_torch,
        narrow: spec.proj_size > 0,
        "Row 2k of a state is layer k forward, row 2k + 1 is layer k reverse.": spec.bidirectional,
        "Dropout acts between layers: with one layer it does nothing, and torch warns.": spec.dropout > 0 and one,
        "batch_first changes nothing where the input has no batch axis.": batch_first and not batched,
        "In the equations a vector is one sequence, W v a matrix product, * the product element by element.": True,
    }
    return [text for text, holds in notes.items() if holds]
