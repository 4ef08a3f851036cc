"""The table of cells: what each recurrent layer is made of. Everything that depends on the cell asks it.

The layers are those of torch.nn, and the LSTM of 1997, which has no forget gate.

A new cell is an entry here, its equations in each implementation (a file for the layer and one for the step), and a
line where each oracle and conversion names it; CONTRIBUTING.md lists the files.

>>> from common.model.cells import TABLE
>>> TABLE["LSTM"].letters, TABLE["LSTM"].states
(('i', 'f', 'g', 'o'), ('h', 'c'))
"""

from collections.abc import Iterable
from typing import NamedTuple


class Gate(NamedTuple):
    """A gate: its letter in the equations, its activation, and its name in words."""

    letter: str
    activation: str
    name: str


class Cell(NamedTuple):
    """A layer (``is_step`` False) or one step of it (True).

    ``layer`` is the layer with the same equations, and so identifies them. ``gates`` stand in the order in which
    their rows are stacked in every weight and bias; an Elman network has none, and its matrices have H rows.
    ``states`` are those that a step passes on, the output h first. ``options`` are the constructor arguments beyond
    the sizes, the bias and the dtype that the cell takes. ``in_torch`` is whether torch.nn has a class of this name.
    """

    name: str
    layer: str
    is_step: bool
    states: tuple[str, ...]
    gates: tuple[Gate, ...]
    options: frozenset[str]
    in_torch: bool = True

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters of the gates in the order of the stack."""
        return tuple(gate.letter for gate in self.gates)

    @property
    def quantities(self) -> tuple[str, ...]:
        """What a step computes, as a module gives it on request: the states, then the gates by their letters."""
        return self.states + self.letters

    @property
    def num_blocks(self) -> int:
        """G: how many blocks of H rows each weight and bias has."""
        return len(self.gates) or 1


LAYER_OPTIONS = frozenset({"num_layers", "dropout", "input_dropout", "recurrent_dropout", "bidirectional"})
ELMAN_OPTIONS = frozenset({"nonlinearity"})
LSTM_OPTIONS = frozenset({"forget_bias"})
GRU_OPTIONS = frozenset({"reset_after"})
# The LSTM with a forget gate (Gers et al. 2000), in the order of torch.nn.
LSTM_GATES = (
    Gate("i", "sigmoid", "input gate"),
    Gate("f", "sigmoid", "forget gate"),
    Gate("g", "tanh", "candidate"),
    Gate("o", "sigmoid", "output gate"),
)
# The GRU (Cho et al. 2014), in the order of torch.nn.
GRU_GATES = (
    Gate("r", "sigmoid", "reset gate"),
    Gate("z", "sigmoid", "update gate"),
    Gate("n", "tanh", "candidate"),
)
# The LSTM without a forget gate (Hochreiter & Schmidhuber 1997).
LSTM1997_GATES = tuple(gate for gate in LSTM_GATES if gate.letter != "f")

TABLE = {
    cell.name: cell
    for cell in (
        Cell(
            name="RNN",
            layer="RNN",
            is_step=False,
            states=("h",),
            gates=(),
            options=ELMAN_OPTIONS | LAYER_OPTIONS,
        ),
        Cell(
            name="RNNCell",
            layer="RNN",
            is_step=True,
            states=("h",),
            gates=(),
            options=ELMAN_OPTIONS,
        ),
        Cell(
            name="LSTM",
            layer="LSTM",
            is_step=False,
            states=("h", "c"),
            gates=LSTM_GATES,
            options=LSTM_OPTIONS | LAYER_OPTIONS | {"proj_size"},
        ),
        Cell(
            name="LSTMCell",
            layer="LSTM",
            is_step=True,
            states=("h", "c"),
            gates=LSTM_GATES,
            options=LSTM_OPTIONS,
        ),
        Cell(
            name="GRU",
            layer="GRU",
            is_step=False,
            states=("h",),
            gates=GRU_GATES,
            options=GRU_OPTIONS | LAYER_OPTIONS,
        ),
        Cell(
            name="GRUCell",
            layer="GRU",
            is_step=True,
            states=("h",),
            gates=GRU_GATES,
            options=GRU_OPTIONS,
        ),
        Cell(
            name="LSTM1997",
            layer="LSTM1997",
            is_step=False,
            states=("h", "c"),
            gates=LSTM1997_GATES,
            options=LAYER_OPTIONS,
            in_torch=False,
        ),
        Cell(
            name="LSTM1997Cell",
            layer="LSTM1997",
            is_step=True,
            states=("h", "c"),
            gates=LSTM1997_GATES,
            options=frozenset(),
            in_torch=False,
        ),
    )
}
CELLS = tuple(TABLE)
LAYERS = tuple(cell.name for cell in TABLE.values() if not cell.is_step)
OPTIONAL = frozenset().union(*(cell.options for cell in TABLE.values()))


def with_option(name: str) -> tuple[str, ...]:
    """The cells that take an option."""
    return tuple(cell.name for cell in TABLE.values() if name in cell.options)


def with_blocks(blocks: int, is_step: bool = False) -> tuple[str, ...]:
    """The layers, or the steps, whose matrices are stacked from so many blocks of H rows."""
    return tuple(cell.name for cell in TABLE.values() if cell.num_blocks == blocks and cell.is_step == is_step)


def whose(cells: Iterable[str]) -> str:
    """The cells that parameters may belong to, as the question at the end of an error; "" for none.

    >>> from common.model.cells import whose
    >>> whose(["LSTM", "GRU"])
    "an LSTM's or a GRU's?"
    """
    # "An" stands before letters whose names begin with a vowel.
    owners = [f"{'an' if cell[0] in 'AEFHILMNORSX' else 'a'} {cell}'s" for cell in cells]
    return " or ".join(owners) + "?" if owners else ""
