"""Modules of torch.nn, and of torch_impl where torch.nn has none, that the tests of descriptions describe."""

from typing import Any, NamedTuple

import pytest
import torch

import torch_impl
from common.model.describe import Description, describe
from common.model.spec import ModelSpec

# All sizes differ, so that no axis can stand for another.
I, H, P, T, B = 2, 5, 3, 6, 4
LENGTHS = (6, 3, 1, 4)


class Case(NamedTuple):
    """A constructor call of torch.nn or torch_impl, and whether x has an axis of sequences."""

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
        return self.made(I, **self.arguments)

    def made(self, input_size: int, **arguments: Any) -> Any:
        """A module of the same class."""
        package = torch.nn if self.in_torch else torch_impl
        return getattr(package, self.cell)(input_size, H, dtype=torch.float64, **arguments)

    @property
    def in_torch(self) -> bool:
        return hasattr(torch.nn, self.cell) and "reset_after" not in self.arguments

    @property
    def is_cell(self) -> bool:
        return self.cell.endswith("Cell")

    @property
    def states(self) -> str:
        return "hc" if self.cell.startswith("LSTM") else "h"

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
    Case("GRU", {}),
    Case("GRU", {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.5}),
    Case("GRU", {"bias": False}, batched=False),
    Case("GRU", {"reset_after": False, "num_layers": 2, "bidirectional": True}),
    Case("GRUCell", {}),
    Case("GRUCell", {"bias": False}, batched=False),
    Case("GRUCell", {"reset_after": False}),
    Case("GRUCell", {"reset_after": False, "bias": False}),
    Case("LSTM1997", {}),
    Case("LSTM1997", {"num_layers": 2, "bidirectional": True, "bias": False}),
    Case("LSTM1997Cell", {}),
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
    sizes = [case.arguments.get("proj_size") or H, H][: len(case.states)]
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
