"""Loading converts a dtype where that is exact for every value, and refuses it elsewhere, in every module alike."""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from flax import nnx

import jax_impl
import numpy_impl
import torch_impl
from common.errors import InvalidInput, InvalidType
from common.model.dtypes import is_exact, numpy_dtype, rounding
from common.model.initial import initial_parameters
from common.model.spec import DTYPES, HALF_DTYPES, ModelSpec
from common.weights.arrays import to_arrays

FLOATS = (*DTYPES, *HALF_DTYPES)
OTHERS = ("int64", "int8", "bool", "complex64", "complex128")
I, H = 3, 5
RNNS = {"numpy": numpy_impl.RNN, "jax": jax_impl.RNN, "torch": torch_impl.RNN}
# NumPy computes in no bfloat16.
CASES = [case for case in product(RNNS, (*FLOATS, *OTHERS), FLOATS) if (case[0], case[2]) != ("numpy", "bfloat16")]


def values(dtype: str) -> np.ndarray:
    """Every value of a dtype of 16 bits, of a wider one some of each exponent, with every digit used in some."""
    if dtype in HALF_DTYPES:
        return np.arange(2**16, dtype="uint16").view(numpy_dtype(dtype))
    info: Any = ml_dtypes.finfo(dtype)
    powers = np.ldexp(np.ones(1, dtype), np.arange(info.minexp - info.nmant, info.maxexp, 7))
    return np.concatenate([powers, -powers * (1 + info.eps), [info.max, info.smallest_subnormal]]).astype(dtype)


@pytest.mark.parametrize(("source", "target"), [*product(FLOATS, FLOATS)])
@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered in cast")
def test_exact_means_that_every_value_comes_back(source: str, target: str) -> None:
    given = values(source)
    there = given.astype(numpy_dtype(target))
    back = there.astype("float64"), given.astype("float64")
    assert is_exact(source, target) == np.array_equal(*back, equal_nan=True)
    for dtype in (np.dtype("float32"), jnp.zeros(2, "float32").dtype, torch.float32):
        assert is_exact(dtype, target) == is_exact("float32", target)
    assert (rounding(source, target) == "") == is_exact(source, target)


@pytest.mark.parametrize(("source", "target"), [*product((*OTHERS, "longdouble", "float8_e5m2"), FLOATS)])
def test_integers_complex_numbers_and_other_floats_are_not_exact(source: str, target: str) -> None:
    assert not is_exact(np.dtype(getattr(ml_dtypes, source, source)), target)


def build(package: str, dtype: str) -> Any:
    options: dict[str, Any] = {"rngs": nnx.Rngs(0)} if package == "jax" else {}
    return RNNS[package](I, H, dtype=getattr(torch, dtype) if package == "torch" else dtype, **options)


def given_params(package: str, dtype: str) -> dict[str, Any]:
    """Random parameters that the dtype has exactly; integers and complex numbers of the same shapes."""
    drawn = initial_parameters(ModelSpec(cell="RNN", input_size=I, hidden_size=H), 8)
    arrays = {name: (100 * value).astype(numpy_dtype(dtype)) for name, value in drawn.items()}
    if package != "torch":
        return arrays
    wide = "complex128" if dtype.startswith("complex") else "float64"
    return {k: torch.tensor(v.astype(wide)).to(getattr(torch, dtype)) for k, v in arrays.items()}


def state(module: Any) -> dict[str, np.ndarray]:
    return to_arrays(module.state_dict())


@pytest.mark.parametrize(("package", "source", "target"), CASES)
def test_the_rule_holds_in_every_module(package: str, source: str, target: str) -> None:
    with jax.enable_x64(True):
        module, params = build(package, target), given_params(package, source)
        before = state(module)
        if is_exact(source, target):
            module.load_state_dict(params)
            for name, value in state(module).items():
                assert value.dtype == numpy_dtype(target)
                assert np.array_equal(value.astype("float64"), to_arrays(params)[name].astype("float64"))
            return
        with pytest.raises(InvalidType) as caught:
            module.load_state_dict(params)
    message = str(caught.value)
    assert message.startswith("weight_ih_l0: expected ")
    assert f"{target} for RNN(" in message
    assert f"{source} can round in {target}: cast it yourself first" in message or source in OTHERS
    assert f", got {'torch.' if package == 'torch' else ''}{source}" in message
    assert all(np.array_equal(value, before[name]) for name, value in state(module).items())


def test_assigning_an_attribute_in_numpy_follows_the_rule() -> None:
    module, params = build("numpy", "float32"), given_params("numpy", "float16")
    module.weight_hh_l0 = params["weight_hh_l0"]
    assert module.weight_hh_l0.dtype == np.dtype("float32")
    assert np.array_equal(module.weight_hh_l0, params["weight_hh_l0"])
    with pytest.raises(
        InvalidType, match=r"^weight_hh_l0: expected float32 .*, got float64; float64 can round in float"
    ):
        module.weight_hh_l0 = given_params("numpy", "float64")["weight_hh_l0"]


@pytest.mark.parametrize(
    "options", [{}, {"strict": False}, {"assign": True}, {"strict": False, "assign": True}], ids=str
)
def test_modules_of_torch_around_ours_follow_the_rule(options: dict[str, bool]) -> None:
    """By its own parameters, torch's linear layer takes any dtype, as it always does."""

    def network(dtype: str) -> Any:
        rnns = torch.nn.ModuleDict({"rnn": build("torch", dtype)})
        return torch.nn.Sequential(torch.nn.Linear(2, I), rnns)

    wide, narrow = network("float64"), network("float32")
    wide.load_state_dict(narrow.state_dict(), **options)
    for name, value in wide[1].state_dict().items():
        assert value.dtype == torch.float64
        assert torch.equal(value, narrow[1].state_dict()[name].double())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in wide.parameters())
    with pytest.raises(
        InvalidType, match=r"^1\.rnn\.weight_ih_l0: expected torch\.float32 for RNN\(3, 5\), got torch\.fl"
    ):
        narrow.load_state_dict(network("float64").state_dict(), **options)
    before = narrow[1]["rnn"].weight_hh_l0.detach().clone()
    with pytest.raises(InvalidType, match=r"^1\.rnn\.weight_hh_l0: .* got torch\.int64$"):
        narrow.load_state_dict(
            {**narrow.state_dict(), "1.rnn.weight_hh_l0": torch.ones(H, H, dtype=torch.int64)}, **options
        )
    assert torch.equal(narrow[1]["rnn"].weight_hh_l0, before)


def test_torch_s_own_error_for_names_and_shapes_stays() -> None:
    module = build("torch", "float64")
    params = given_params("torch", "float32")
    with pytest.raises(RuntimeError, match=r'(?s)Missing key.*"bias_hh_l0".*Unexpected key.*"more"'):
        module.load_state_dict({k: v for k, v in params.items() if k != "bias_hh_l0"} | {"more": torch.ones(2)})
    with pytest.raises(RuntimeError, match=r"size mismatch for weight_ih_l0"):
        module.load_state_dict(params | {"weight_ih_l0": torch.ones(I, H)})
    missing, unexpected = module.load_state_dict({"weight_hh_l0": params["weight_hh_l0"]}, strict=False)
    assert (missing, unexpected) == (["weight_ih_l0", "bias_ih_l0", "bias_hh_l0"], [])
    assert torch.equal(module.weight_hh_l0, params["weight_hh_l0"].double())


def test_jax_does_not_narrow_where_64_bit_types_are_off() -> None:
    with jax.enable_x64(True):
        module = build("jax", "float64")
    before = module.weight_hh_l0.get_value()
    with pytest.raises(InvalidInput, match=r"^dtype: expected float32, as 64-bit types are off in JAX, got float64"):
        module.load_state_dict(given_params("jax", "float64"))
    assert module.weight_hh_l0.get_value() is before


@pytest.mark.parametrize("package", ["numpy", "jax"])
def test_what_is_no_array_is_refused(package: str) -> None:
    module, params = build(package, "float32"), given_params(package, "float32")
    for value, got in (
        ([[1.0, 2.0], [3.0]], "got list$"),
        (None, "got NoneType$"),
        (torch.ones(H, H).to_sparse(), r"got a tensor of torch\.float32, torch\.sparse_coo, on cpu$"),
        (torch.ones(H, H, device="meta"), r"got a tensor of torch\.float32, torch\.strided, on meta$"),
        (torch.ones(H, H).to(torch.float8_e5m2), r"got a tensor of torch\.float8_e5m2, torch\.strided, on cpu$"),
    ):
        with pytest.raises(InvalidType, match=f"^weight_hh_l0: expected .*, {got}"):
            module.load_state_dict(params | {"weight_hh_l0": value})


def test_the_other_byte_order_is_the_same_dtype() -> None:
    module, params = build("numpy", "float64"), given_params("numpy", "float64")
    module.load_state_dict({name: value.astype(">f8") for name, value in params.items()})
    for name, value in module.state_dict().items():
        assert value.dtype == np.dtype("=f8")
        assert np.array_equal(value, params[name])
