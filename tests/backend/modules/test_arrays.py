"""What a caller may hand over, and change afterwards: masked arrays, subclasses, arrays changed in place."""

from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from common.backend import registry
from common.backend.contract import Batch
from common.backend.guards import require_batch
from common.equivalence.variants import random_problem
from common.errors import InvalidType
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec
from common.training.decoding import generate
from tests.backend.modules.calls import (
    LENGTHS,
    B,
    H,
    I,
    T,
    build,
    call,
    every_cell,
    loaded,
    numpy_backward,
    problem,
    weights,
)

MASKED = (
    r"expected an array without a mask, got MaskedArray; its mask would be ignored; array.filled\(value\) has none$"
)
pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass is not the recommended way")
every_numpy_taker = pytest.mark.parametrize("package", ["numpy", "jax"])


class Named(np.ndarray):
    """A subclass whose products are not those of an array."""

    def __mul__(self, other: Any) -> Any:
        return self @ other


def masked(array: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) % 3 == 0)


@every_numpy_taker
def test_a_module_refuses_masked_arrays(package: str) -> None:
    options: dict[str, Any] = {"num_layers": 2}
    (x, h, c), (dy, *dhx) = problem("LSTM", **options)
    module = loaded(package, "LSTM", **options)
    masks = np.ones((1, T, B, H), "float32")
    calls = {
        "x": lambda: module(masked(x)),
        r"hx\[0\]": lambda: module(x, (masked(h), c)),
        r"hx\[1\]": lambda: module(x, (h, masked(c))),
        "lengths": lambda: module(x, lengths=masked(LENGTHS)),
        "masks": lambda: module(x, masks=masked(masks)),
        "weight_hh_l0": lambda: module.load_state_dict(
            weights("LSTM", **options) | {"weight_hh_l0": masked(np.ones((4 * H, H), "float32"))}
        ),
    }
    if package == "numpy":
        module(x)
        calls["dy"] = lambda: module.backward(masked(dy))
        calls[r"dhx\[1\]"] = lambda: module.backward(dy, (dhx[0], masked(dhx[1])))
    for name, made in calls.items():
        with pytest.raises(InvalidType, match=f"^{name}: {MASKED}"):
            made()
    with pytest.raises(InvalidType, match=f"^lengths: {MASKED}"):
        build("torch", "LSTM")(torch.tensor(x), lengths=masked(LENGTHS))


@pytest.mark.parametrize("kind", ["matrix", "subclass", "memmap"])
@every_numpy_taker
def test_a_module_takes_other_subclasses_as_plain_arrays(package: str, kind: str, tmp_path: Any) -> None:
    numbers = count()

    def changed(array: np.ndarray) -> np.ndarray:
        if kind == "matrix" and array.ndim == 2:
            return np.matrix(array)
        if kind == "memmap":
            path = tmp_path / f"{next(numbers)}.npy"
            np.save(path, array)
            return np.load(path, mmap_mode="r")
        return array.view(Named)

    inputs, cotangents = problem("LSTMCell")
    reference, module = loaded(package, "LSTMCell"), build(package, "LSTMCell")
    module.load_state_dict({name: changed(value) for name, value in weights("LSTMCell").items()})
    expected, found = call(reference, *inputs), call(module, *map(changed, inputs))
    if package == "numpy":
        expected += [*numpy_backward(reference, cotangents), *reference.grads.values()]
        found += [*numpy_backward(module, list(map(changed, cotangents))), *module.grads.values()]
    for a, b in zip(found, expected, strict=True):
        assert type(a) in (np.ndarray, type(expected[0]))
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["numpy", "jax", "torch", "torch.nn", "flax"])
def test_the_contract_refuses_masked_arrays_and_other_subclasses(name: str) -> None:
    spec, backend = ModelSpec(cell="RNN", input_size=I, hidden_size=H, num_layers=2), registry.load(name)
    masks = np.ones((1, T, B, H))
    args = random_problem(spec, T, B, 0)._replace(lengths=LENGTHS, masks=masks)
    good: dict[str, Any] = {"spec": spec} | args._asdict()
    changes: dict[str, tuple[str, Any]] = {
        "x": ("x", masked(args.x)),
        "state0": ("state0.h", (masked(args.dstate[0]),)),
        "dstate": ("dstate.h", (masked(args.dstate[0]),)),
        "dy": ("dy", masked(args.dy)),
        "masks": ("masks", masked(masks)),
        "lengths": ("lengths", masked(LENGTHS)),
        "params": ("bias_hh_l1", args.params | {"bias_hh_l1": masked(args.params["bias_hh_l1"])}),
    }

    def called(**changed: Any) -> None:
        backend.vjp(**good | changed)

    for argument, (named, value) in changes.items():
        with pytest.raises(InvalidType, match=f"^{named}: {MASKED}"):
            called(**{argument: value})
    with pytest.raises(InvalidType, match=r"^x: expected a numpy.ndarray, got Named; numpy.asarray of it is one$"):
        called(x=args.x.view(Named))
    matrix = args.params | {"weight_hh_l1": np.matrix(args.params["weight_hh_l1"])}
    with pytest.raises(InvalidType, match=r"^weight_hh_l1: expected a numpy.ndarray, got matrix"):
        called(params=matrix)


def test_batches_and_prompts_have_no_mask() -> None:
    model = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
    symbols: dict[str, Any] = {"inputs": "one_hot", "vocabulary": I, "loss": "cross_entropy", "readout": "every_step"}
    text = NetworkSpec(model=model, readout_size=I, **symbols)
    features = NetworkSpec(model=model, readout_size=2)
    rows = np.zeros((T, B), int)
    for field in ("x", "target"):
        for network, batch in (
            (text, Batch(rows, rows)),
            (features, Batch(np.zeros((T, B, I)), np.zeros((B, 2)))),
        ):
            spoiled = batch._replace(**{field: masked(getattr(batch, field))})
            with pytest.raises(InvalidType, match=f"^{field}: {MASKED}"):
                require_batch(network, spoiled)
    with pytest.raises(InvalidType, match=f"^prompt: {MASKED}"):
        generate(registry.load("numpy"), text, initial_network(text, 0), masked(np.array([1, 0, 2])), 2)


@every_cell
def test_numpy_s_backward_uses_the_weights_of_its_call(cell: str) -> None:
    inputs, cotangents = problem(cell)
    results = []
    for change in (False, True):
        module = loaded("numpy", cell)
        call(module, *inputs)
        if change:
            for value in module.params.values():
                value *= 3
        results.append([*numpy_backward(module, cotangents), *module.grads.values()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
