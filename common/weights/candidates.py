"""Arrays that may be those of a recurrent layer under names that no system has, and how to save them under torch.nn's.

>>> import numpy as np
>>> from common.weights.candidates import candidates
>>> arrays = {"enc_w_ih": np.ones((12, 3)), "enc_w_hh": np.ones((12, 4)), "enc_b": np.ones(12), "emb": np.ones((9, 3))}
>>> [layer] = candidates(arrays, list(arrays))
>>> layer.cell, layer.arrays
('GRU', ('enc_w_ih', 'enc_w_hh', 'enc_b'))
>>> layer.renamed["enc.weight_hh_l0"], layer.renamed["enc.bias_hh_l0"]
("a['enc_w_hh']", "0 * a['enc_b']")
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

# How the two matrices of a layer are told apart in their names: that of x, and that of h.
CLEAR = (("ih", "hh"), ("xh", "hh"), ("i2h", "h2h"), ("x2h", "h2h"), ("x", "h"), ("Wx", "Wh"), ("wx", "wh"))
CLEAR += (("Wih", "Whh"), ("Wxh", "Whh"), ("wih", "whh"), ("wxh", "whh"), ("kernel", "recurrent_kernel"))
# Words that other models have too, such as an MLP: they count only where there are several gates.
COMMON = (("input", "hidden"), ("input", "recurrent"), ("in", "rec"), ("i", "h"), ("Wi", "Wh"))
COMMON += (("W", "U"), ("U", "W"), ("w", "u"), ("u", "w"), ("W", "R"), ("w", "r"))
CELLS = {1: "RNN", 3: "GRU", 4: "LSTM"}
# What says in a name that an array is a weight or a bias, alone or before its side (``Wx``, ``b_ih``).
ROLE = re.compile(r"(?i)(?<![a-z])(?:recurrent_kernel|kernel|weights?|bias(?:es)?|[wub](?=[xhi]h?(?![a-z])|(?![a-z])))")
SIDE = re.compile(r"(?i)(?<![a-z])(?:[ixh]h|[ixh]2h|input|hidden|recurrent|in|rec|[ixhwur])(?![a-z])")
# The end of the name of a module, without what the array is, that has one matrix for x and h.
JOINED = re.compile(r"(?i)(?:^|[^a-z])(?:(lstm)(?:_?cell)?|i2h)[\W_\d]*")
# Gates that have arrays of their own.
GATE = re.compile(r"(?<![A-Za-z])[ifgcorznu](?![A-Za-z])")


class Candidate(NamedTuple):
    """Arrays that may be a layer: their names, and name in torch.nn -> Python for its value, ``a`` being the arrays."""

    cell: str
    arrays: tuple[str, ...]
    renamed: dict[str, str]


def candidates(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> list[Candidate]:
    """What these arrays may be by their names and shapes: (G*H, I) beside (G*H, H), transposed, or (G*H, I + H)."""
    among = {name: arrays[name] for name in names if arrays[name].ndim in (1, 2) and arrays[name].dtype.kind in "fV"}
    found: list[Candidate] = []
    taken: set[str] = set()
    for layer in [*_pairs(among), *_joined(among)]:
        if taken.isdisjoint(name for name in layer.arrays if among[name].ndim == 2):
            found.append(layer)
            taken.update(layer.arrays)
    alike = Counter(GATE.sub("", layer.arrays[0]) for layer in found if layer.cell == "RNN")
    whole = [layer for layer in found if layer.cell != "RNN" or alike[GATE.sub("", layer.arrays[0])] < 3]
    prefixes = Counter(_prefix(layer) for layer in whole)
    return [layer for layer in whole if prefixes[_prefix(layer)] == 1]


def _prefix(layer: Candidate) -> str:
    return next(iter(layer.renamed))


def _pairs(arrays: Mapping[str, np.ndarray]) -> Iterator[Candidate]:
    for pairs, least in ((CLEAR, 1), (COMMON, 3)):
        for of_x, of_h in pairs:
            for name, x in arrays.items():
                if of_x not in name or x.ndim != 2:
                    continue
                for match in re.finditer(rf"(?<![A-Za-z_]){of_x}(?![A-Za-z])|(?<=_){of_x}(?![A-Za-z])", name):
                    twin = name[: match.start()] + of_h + name[match.end() :]
                    if twin not in arrays or twin == name or arrays[twin].ndim != 2:
                        continue
                    blocks, is_transposed = _blocks(x.shape, arrays[twin].shape)
                    if blocks >= least:
                        yield _pair(arrays, name, twin, blocks, is_transposed)


def _blocks(x: tuple[int, ...], h: tuple[int, ...]) -> tuple[int, bool]:
    """The number of gates of two matrices and whether they are transposed; 0 if they are not those of a layer."""
    for is_transposed in (False, True):
        (rows, _), (own, hidden) = (x[::-1], h[::-1]) if is_transposed else (x, h)
        if rows == own and hidden and rows in (hidden, 3 * hidden, 4 * hidden):
            return rows // hidden, is_transposed
    return 0, False


def _pair(arrays: Mapping[str, np.ndarray], x: str, h: str, blocks: int, is_transposed: bool) -> Candidate:
    end = ".T" if is_transposed else ""
    rows = arrays[x].shape[1 if is_transposed else 0]
    weights = {"weight_ih": f"a[{x!r}]{end}", "weight_hh": f"a[{h!r}]{end}"}
    return _candidate(arrays, blocks, (x, h), weights, rows)


def _joined(arrays: Mapping[str, np.ndarray]) -> Iterator[Candidate]:
    """One matrix for x and h behind one another, beside a bias, which shows along which axis the gates stand."""
    for name, value in arrays.items():
        match = JOINED.search(ROLE.sub("", name))
        if value.ndim != 2 or match is None or match.end() < len(ROLE.sub("", name)):
            continue
        blocks = 4 if match[1] else 1
        for axis in (0, 1):
            rows, columns = value.shape[axis], value.shape[1 - axis]
            inputs = columns - rows // blocks
            if rows and rows % blocks == 0 and inputs > 0 and _biases(arrays, (name,), rows):
                a = f"a[{name!r}]"
                x, h = (f"{a}[:, :{inputs}]", f"{a}[:, {inputs}:]") if not axis else (f"{a}[:{inputs}].T", "")
                weights = {"weight_ih": x, "weight_hh": h or f"{a}[{inputs}:].T"}
                yield _candidate(arrays, blocks, (name,), weights, rows)
                break


def _candidate(
    arrays: Mapping[str, np.ndarray], blocks: int, names: tuple[str, ...], weights: dict[str, str], rows: int
) -> Candidate:
    biases = _biases(arrays, names, rows)
    values = [f"a[{name!r}]" for name in biases]
    values += [f"0 * {values[0]}"] if len(values) == 1 else []
    prefix = _stem(names[0]).replace("/", ".")
    start = f"{prefix}." if prefix else ""
    parts = weights | dict(zip(("bias_ih", "bias_hh"), values, strict=False))
    renamed = {f"{start}{part}_l0": value for part, value in parts.items()}
    return Candidate(CELLS[blocks], (*names, *biases), renamed)


def _biases(arrays: Mapping[str, np.ndarray], weights: tuple[str, ...], rows: int) -> list[str]:
    """The biases with the names of the weights: one for each, or one for both."""
    vectors = [name for name, value in arrays.items() if value.shape == (rows,)]
    sides = [_key(name) for name in weights]
    if len(set(sides)) > 1:
        own = [[name for name in vectors if _key(name) == side] for side in sides]
        if all(len(some) == 1 for some in own):
            return [some[0] for some in own]
    of_both = [name for name in vectors if _stem(name) == _stem(weights[0])]
    return of_both if len(of_both) == 1 else []


def _key(name: str) -> str:
    """A name without what the array is; its side stays."""
    return re.sub(r"[\W_]+", "_", ROLE.sub("", name)).strip("_")


def _stem(name: str) -> str:
    """A name without what the array is and its side: that of the module."""
    return re.sub(r"[._/]*([._/])[._/]*", r"\1", SIDE.sub("", ROLE.sub("", name))).strip("._/:")
