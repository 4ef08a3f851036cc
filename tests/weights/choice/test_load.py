"""``load`` of every implementation: the module of a layer in a file, with the weights and the dtype of the file."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

import jax_impl
import numpy_impl
import torch_impl
from common.errors import InvalidInput
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.source import WeightsFile
from tests.refusals import refused
from tests.weights.choice.models import H, I, inputs, network, saved, single

PACKAGES: dict[str, Any] = {"numpy": numpy_impl, "jax": jax_impl, "torch": torch_impl}
every_package = pytest.mark.parametrize("package", PACKAGES)


@pytest.fixture(autouse=True)
def every_warning() -> Iterator[None]:
    with warnings.catch_warnings(action="error"):
        yield


def array(package: str, value: Any) -> Any:
    return {"numpy": np.asarray, "jax": jax.numpy.asarray, "torch": torch.tensor}[package](value)


def plain(value: Any) -> np.ndarray:
    return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)


@every_package
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_module_computes_what_torch_s_computes(package: str, batch_first: bool, tmp_path: Path) -> None:
    model, file = network()["encoder"], saved(tmp_path)
    module = PACKAGES[package].load(file, "encoder", batch_first=batch_first)
    assert type(module) is PACKAGES[package].LSTM
    assert (module.num_layers, module.bidirectional, module.batch_first) == (2, True, batch_first)
    x = inputs().numpy()
    y, (h, c) = module(array(package, x.swapaxes(0, 1) if batch_first else x))
    wanted, states = model(torch.tensor(x))
    got = plain(y)
    assert got.dtype == np.dtype("float32")
    np.testing.assert_allclose(got.swapaxes(0, 1) if batch_first else got, plain(wanted), rtol=0, atol=1e-6)
    for found, state in zip((h, c), states, strict=True):
        np.testing.assert_allclose(plain(found), plain(state), rtol=0, atol=1e-6)


@every_package
@pytest.mark.parametrize("cell", ["RNN", "LSTM1997", "LSTM", "GRU", "GRUCell"])
def test_every_weight_and_option_of_the_file_is_the_module_s(package: str, cell: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "RNN": {"nonlinearity": "relu", "bias": False},
        "GRU": {"reset_after": False, "num_layers": 2},
        "GRUCell": {"reset_after": False},
        "LSTM": {"proj_size": 2},
    }.get(cell, {})
    spec = ModelSpec(cell=cell, input_size=I, hidden_size=H, dtype="float32", **options)
    params: dict[str, Any] = initial_parameters(spec, 3)
    np.savez(tmp_path / "model.npz", **params)
    told = {"cell": cell} | {name: options[name] for name in ("nonlinearity", "reset_after") if name in options}
    module = PACKAGES[package].load(str(tmp_path / "model.npz"), **told)
    assert type(module) is getattr(PACKAGES[package], cell)
    assert module.spec == spec
    found = module.state_dict()
    assert found.keys() == params.keys()
    assert all(np.array_equal(plain(found[name]), value) for name, value in params.items())


@every_package
def test_one_direction_and_a_stack(package: str, tmp_path: Path) -> None:
    file, load = saved(tmp_path), PACKAGES[package].load
    assert load(file, "encoder:l1_reverse").input_size == 2 * H
    assert load(file, "lower+upper", nonlinearity="tanh").num_layers == 2
    with refused(f"layer in {file}", "encoder", got="'lstm'"):
        load(file, "lstm")
    with refused("batch_first", f"False for GRUCell in {file}", got=True):
        load(file, "step", cell="GRUCell", reset_after=True, batch_first=True)


@every_package
def test_what_the_file_does_not_record_is_assumed_with_a_warning(package: str, tmp_path: Path) -> None:
    file, load = saved(tmp_path), PACKAGES[package].load
    with pytest.warns(UserWarning, match=r"does not record the nonlinearity; assuming tanh") as caught:
        assert load(file, "upper").nonlinearity == "tanh"
    assert [warning.filename for warning in caught] == [__file__]
    assert load(file, "upper", nonlinearity="relu").nonlinearity == "relu"
    with pytest.warns(UserWarning, match=r'\(pass nonlinearity="relu" otherwise\)'):
        load(file, "upper")


@every_package
def test_torch_s_own_reading_of_torch_s_names_is_no_warning(package: str, tmp_path: Path) -> None:
    """Every warning is an error here: a GRU is torch.nn's, and not an LSTM of 1997 or one that resets h first."""
    step = PACKAGES[package].load(saved(tmp_path), "step")
    assert (type(step).__name__, step.reset_after) == ("GRUCell", True)


@every_package
def test_what_another_system_leaves_open_is_a_warning_in_python_s_words(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = single("gru", "equinox GRU", 4, dtype="float32")
    file = WeightsFile(tmp_path / "gru.eqx", "", {}, layers=(layer._replace(recorded=frozenset({"cell"})),))
    monkeypatch.setattr(files, "read", lambda path: file)
    with pytest.warns(UserWarning, match=r"does not record reset_after.*\(pass reset_after=False otherwise\)"):
        PACKAGES[package].load("gru.eqx")


@every_package
def test_float64_stays_float64_which_jax_must_be_set_to(package: str, tmp_path: Path) -> None:
    params: dict[str, Any] = initial_parameters(ModelSpec(cell="LSTM", input_size=I, hidden_size=H), 3)
    np.savez(tmp_path / "model.npz", **params)
    load = PACKAGES[package].load
    if package == "jax":
        with jax.enable_x64(False), pytest.raises(InvalidInput, match="jax_enable_x64"):
            load(tmp_path / "model.npz")
    with jax.enable_x64(True):
        found = load(tmp_path / "model.npz").state_dict()
    assert all(np.array_equal(plain(found[name]), value) for name, value in params.items())
    assert {plain(value).dtype.name for value in found.values()} == {"float64"}
