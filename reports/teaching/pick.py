"""Which numbers of each quantity the stepper shows, as text and with their labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.tracing.trace import Example, Trace
from reports.teaching.words import ACCUMULATED, meanings


class Pick:
    """The hidden units and inputs of an example that are shown, counted from 0, and what they select."""

    def __init__(self, example: Example, units: Sequence[int], inputs: Sequence[int]):
        self.example, self.units, self.inputs = example, list(units), list(inputs)
        self.meanings = meanings(example.spec.kind.layer)
        self.gates = example.spec.kind.letters or ("",)
        self.rows = [place * example.spec.hidden_size + unit for place in range(len(self.gates)) for unit in units]

    def __call__(self, name: str, array: np.ndarray) -> list[Any]:
        """The part of a quantity (T, ...) that is shown, as text with six digits."""
        return texts(self.part(name, array))

    def part(self, name: str, array: np.ndarray) -> np.ndarray:
        """The part of a quantity (T, ...) that is shown."""
        if "weight" in name:
            columns = self.inputs if "weight_ih" in name else self.units
            return array[:, self.rows][:, :, columns]
        if "bias" in name:
            return array[:, self.rows]
        return array[:, self.inputs if name in ("x", "dx") else self.units]

    def arrays(self, trace: Trace) -> dict[str, np.ndarray]:
        """The quantities of a trace; the pre-activations of several gates are separated."""
        arrays = dict(trace.arrays)
        if self.example.spec.kind.gates:
            for name in ("a", "q", "da"):  # q has no candidate
                if name in arrays:
                    parts = np.split(array := arrays.pop(name), array.shape[1] // self.example.spec.hidden_size, axis=1)
                    arrays |= {f"{name}_{gate}": part for gate, part in zip(self.gates, parts, strict=False)}
        return {name: array for name, array in arrays.items() if name in self.meanings}

    def all(self, traces: Mapping[str, Trace], example: Example) -> dict[str, dict[str, Any]]:
        """Quantity -> who computed it, except NumPy -> the numbers."""
        numbers: dict[str, dict[str, Any]] = {"x": {"given": self("x", example.x[:, 0])}}
        for who, trace in traces.items():
            if who != "numpy":
                for name, array in self.arrays(trace).items():
                    numbers.setdefault(name, {})[who] = self(name, array)
        return numbers

    def given(self, example: Example, trace: Trace) -> dict[str, Any]:
        """The initial state, the target of each step that counts in the loss, and dy, the gradient of that loss."""
        start = zip(example.spec.state_names, example.state0, strict=True)
        target = [
            row if counts else None
            for row, counts in zip(self("h", example.target[:, 0]), example.counted, strict=True)
        ]
        return {
            "start": {name: texts(part[0, 0][self.units]) for name, part in start},
            "target": target,
            "dy": self("h", trace.arrays["dy"]),
        }

    def names(self, assigned: str) -> list[str]:
        """The quantities that a line sets when it assigns to this name."""
        biases = ["bias_ih", "bias_hh"] if self.example.spec.bias else []
        match assigned:
            case "a" if self.example.spec.kind.gates:
                return [f"a_{gate}" for gate in self.gates]
            case "q":
                return [f"q_{gate}" for gate in self.gates[:2]]
            case "dstate":
                return ["dh", *(f"d{name}_next" for name in self.example.spec.state_names[1:])]
            case "total":
                return [f"d{name}" for name in ("weight_ih", "weight_hh", *biases)]
            case _:
                return [f"{assigned}_step"] if assigned in ACCUMULATED else [assigned]

    def quantities(self) -> dict[str, dict[str, Any]]:
        """Name -> its meaning, and the labels of its rows and columns, which count from 1."""
        quantities = {}
        units, inputs = ([str(number + 1) for number in numbers] for numbers in (self.units, self.inputs))
        rows = [f"{gate} {unit}".strip() for gate in self.gates for unit in units]
        for name, meaning in self.meanings.items():
            columns = None
            if "weight" in name:
                columns = [f"x {n}" for n in inputs] if "weight_ih" in name else [f"h {n}" for n in units]
            labels = rows if "weight" in name or "bias" in name else inputs if name in ("x", "dx") else units
            quantities[name] = {"meaning": meaning, "rows": labels, "columns": columns}
        return quantities


def texts(values: np.ndarray) -> Any:
    """Numbers as text with six digits, in nested lists."""
    return [texts(part) for part in values] if values.ndim else f"{float(values):.6g}"
