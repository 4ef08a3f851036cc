"""A module is built with torch.nn's arguments, which are then its attributes."""

import inspect
import typing

import jax
import numpy as np
import pytest
import torch
from flax import nnx

import jax_impl
from common.errors import InvalidInput, InvalidType
from common.model.cells import LAYERS
from tests.backend.modules.calls import PACKAGES, H, I, P, build, every_cell, every_model, every_package, named

pytestmark = pytest.mark.usefixtures("compile_quickly")


KEYWORDS = {"RNN": {"proj_size"}, "LSTM": {"forget_bias"}, "LSTMCell": {"forget_bias"}}
KEYWORDS |= {"GRU": {"reset_after"}, "GRUCell": {"reset_after"}}
DROPOUT = {"input_dropout", "recurrent_dropout"}  # of layers


@every_cell
def test_constructors_take_what_torch_nn_takes_in_its_order(cell):
    """Each argument is in the signature, where ``inspect`` and an editor find it; what is ours goes by keyword."""

    def parameters(package):
        init = getattr(PACKAGES[package], cell).__init__
        return inspect.signature((typing.get_overloads(init) or [init])[0]).parameters.values()

    def positional(package):
        return [(p.name, p.default) for p in parameters(package) if p.kind is p.POSITIONAL_OR_KEYWORD]

    for package, source in (("numpy", "seed"), ("jax", "rngs"), ("torch", "seed")):
        assert positional(package) == positional("torch.nn")
        by_keyword = {p.name for p in parameters(package) if p.kind is not p.POSITIONAL_OR_KEYWORD}
        assert by_keyword == {source} | KEYWORDS.get(cell, set()) | (DROPOUT if cell in LAYERS else set())
        assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters(package))
        assert all(p.annotation is not p.empty for p in parameters(package) if p.name != "self")


@every_cell
@every_package
def test_every_argument_of_a_constructor_has_an_effect(package, cell):
    """Each one alone, with another value than its default, is an attribute of the module or is refused by name."""
    given = {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True}
    given |= {"nonlinearity": "relu", "proj_size": P, "forget_bias": 1.5, "reset_after": False}
    given |= dict.fromkeys(DROPOUT, 0.25)
    taken = {*inspect.signature(getattr(PACKAGES[package], cell).__init__).parameters} & given.keys()
    assert taken >= {"bias"}
    for name in taken:
        needed = {"num_layers": 2} if name == "dropout" else {}
        if (cell, name) == ("RNN", "proj_size"):
            with pytest.raises(InvalidInput, match=r"^proj_size: expected 0 for RNN, got 4"):
                build(package, cell, proj_size=P)
            continue
        module = build(package, cell, **needed, **{name: given[name]})
        source = module if name == "batch_first" else module.spec
        assert getattr(source, name) == given[name]


@every_package
def test_the_dtype_is_float32_unless_given(package):
    values = build(package, "LSTM", dtype=None).state_dict().values()
    assert {np.asarray(value).dtype.name for value in values} == {"float32"}
    assert build(package, "LSTM", device=jax.devices("cpu")[0] if package == "jax" else "cpu").hidden_size == H


@pytest.mark.parametrize(("cell", "sizes"), [("LSTM", {"num_layers": 2, "bidirectional": True}), ("LSTMCell", {})])
@every_package
def test_forget_bias_is_the_sum_of_both_biases_of_the_forget_gate(package, cell, sizes):
    options = sizes | ({} if package == "jax" else {"seed": 5})

    def drawn(forget_bias):
        return named(of_params=build(package, cell, forget_bias=forget_bias, **options).state_dict())

    with_it, without = drawn(1.5), drawn(None)
    for name, value in without.items():
        forget = np.arange(len(value)) // H == 1
        if name.startswith("bias_ih"):
            assert np.all(with_it[name][forget] + with_it[name.replace("_ih", "_hh")][forget] == 1.5)
            assert not np.any(value[forget] + without[name.replace("_ih", "_hh")][forget] == 1.5)
        same = ~forget if name.startswith("bias") else slice(None)
        assert np.array_equal(with_it[name][same], value[same]), name
    with pytest.raises(TypeError, match="forget_bias"):
        build(package, "RNN", forget_bias=1.5)
    with pytest.raises(InvalidInput, match=r"^forget_bias: expected .* with bias=True, got 1.5$"):
        build(package, cell, forget_bias=1.5, bias=False)


@every_model
def test_torch_attributes_and_repr_are_those_of_torch_nn(cell, options):
    ours, theirs = (build(package, cell, **options) for package in ("torch", "torch.nn"))
    shown = ", nonlinearity=relu" if options.get("nonlinearity") == "relu" else ""
    assert repr(ours) in (repr(theirs), repr(theirs)[:-1] + shown + ")")
    assert shown in repr(ours)
    names = ["input_size", "hidden_size", "num_layers", "bias", "dropout", "bidirectional", "proj_size", "batch_first"]
    for name in filter(lambda name: hasattr(theirs, name), names):
        for module in (ours, *(build(package, cell, **options) for package in ("numpy", "jax"))):
            assert getattr(module, name) == getattr(theirs, name), name
            if name != "batch_first" and (module, name) != (ours, "dropout"):
                with pytest.raises(AttributeError):
                    setattr(module, name, 2)
    assert hasattr(ours, "flatten_parameters") == hasattr(theirs, "flatten_parameters") == (not ours.spec.is_cell)


def test_jax_takes_devices_by_name_and_refuses_rngs_without_dropout():
    assert build("jax", "RNN", device="cpu").weight_hh_l0.get_value().devices() == {jax.devices("cpu")[0]}
    with pytest.raises(InvalidInput, match=r"^device: expected a platform of JAX, such as 'cpu', got 'abacus'$"):
        build("jax", "RNN", device="abacus")
    with pytest.raises(InvalidInput, match=r"^rngs: expected a stream 'dropout' or 'default' for dropout, got"):
        jax_impl.RNN(I, H, 2, dropout=0.5, rngs=nnx.Rngs(params=0))
    with pytest.raises(InvalidType, match=r"^dtype: expected a dtype of NumPy or its name, got torch.float32$"):
        jax_impl.RNN(I, H, dtype=torch.float32, rngs=nnx.Rngs(0))
