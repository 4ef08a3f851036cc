"""Dropout in the idiomatic modules: the masks that torch.nn draws, masks that are given, and each framework's own."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn.utils.rnn import pack_padded_sequence

from common.errors import InvalidInput, InvalidType
from common.model.layout import parameter_shapes
from common.model.masks import dropout_masks
from tests.backend.modules.calls import (
    PACKAGES,
    RESULTS,
    B,
    H,
    I,
    P,
    T,
    assert_close,
    build,
    call,
    every_package,
    loaded,
    named,
    native,
    problem,
    specify,
)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
LAYERS = [("RNN", {"num_layers": 2, "nonlinearity": "relu", "batch_first": True}), ("LSTM", {"num_layers": 3})]
LAYERS += [("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": P})]
LAYERS += [("GRU", {"num_layers": 2, "bidirectional": True}), ("LSTM1997", {"num_layers": 2, "batch_first": True})]
every_layer = pytest.mark.parametrize(("cell", "options"), LAYERS, ids=str)


def probe(package, p, num_layers=2, **options):
    """A module whose output is the product of its masks: every layer passes on the one below, the first gives ones."""
    module = build(package, "RNN", num_layers=num_layers, nonlinearity="relu", bidirectional=True, dropout=p, **options)
    spec = specify("RNN", num_layers=num_layers, nonlinearity="relu", bidirectional=True)
    params = {name: np.zeros(shape, "float32") for name, shape in parameter_shapes(spec).items()}
    for direction, suffix in enumerate(("", "_reverse")):
        params[f"bias_ih_l0{suffix}"][:] = 1
        for level in range(1, num_layers):
            params[f"weight_ih_l{level}{suffix}"] = np.eye(2 * H, dtype="float32")[direction * H :][:H]
    module.load_state_dict(native("torch", params) if "torch" in package else params)
    return module


@nnx.jit
def compiled(module, x):
    return module(x)[0]


def output(package, module, steps=T, batch=B):
    x = native(package, np.zeros((steps, batch, I), "float32"))
    return np.asarray(compiled(module, x) if package == "jax" else detached(module(x)[0]))


def detached(leaf):
    return leaf.detach() if isinstance(leaf, torch.Tensor) else leaf


def as_seeded(package, seed):
    """The argument from which a module's masks follow; torch's follow from the global seed."""
    torch.manual_seed(seed)
    return {"numpy": {"seed": seed}, "jax": {"rngs": nnx.Rngs(params=0, dropout=seed)}}.get(package, {})


@pytest.mark.parametrize("p", [0.2, 0.5, 1.0])
@every_package
def test_masks_are_independent_draws_of_the_right_rate(package, p):
    """Neighbours along every axis differ as often as independent draws do; bounds of five standard deviations."""
    for num_layers in (2, 3):
        y = output(package, probe(package, p, num_layers, **as_seeded(package, 1)), 60, 40)
        rate = (1 - p) ** (num_layers - 1)  # were one mask used twice, it would be 1 - p
        assert abs(np.mean(y > 0) - rate) <= 5 * np.sqrt(rate * (1 - rate) / y.size)
        np.testing.assert_allclose(y[y > 0], 1 / rate if rate else 0, rtol=1e-6)
        for axis in range(3):
            differ, expected = np.mean(np.diff(y > 0, axis=axis)), 2 * rate * (1 - rate)
            assert abs(differ - expected) <= 5 * np.sqrt(2 * expected / y.size), axis


@every_package
def test_masks_are_fresh_at_every_call_follow_the_seed_and_end_with_eval(package):
    module = probe(package, 0.5, **as_seeded(package, 1))
    first, second = (output(package, module) for _ in range(2))
    module.eval()
    assert np.all(output(package, module) == 1)
    module.train()
    third = output(package, module)
    assert set(np.unique([first, second, third])) == {0, 2}
    assert not any(np.array_equal(a, b) for a, b in ((first, second), (second, third), (first, third)))
    twin, other = (output(package, probe(package, 0.5, **as_seeded(package, seed))) for seed in (1, 2))
    assert np.array_equal(twin, first)
    assert not np.array_equal(other, first)


def test_numpy_train_and_eval_return_the_module():
    module = build("numpy", "RNN")
    assert module.training
    assert module.eval() is module
    assert not module.training
    assert module.train() is module
    assert module.training
    assert not module.train(False).training


@every_package
def test_own_masks_act_as_the_same_masks_given(package):
    """Outputs and all gradients; what the module draws is read from a probe with the same seed."""
    options, p = {"num_layers": 2, "bidirectional": True}, problem("LSTM", num_layers=2, bidirectional=True)
    source = probe(package, 0.4, **as_seeded(package, 3))
    module = build(package, "LSTM", dropout=0.4, **as_seeded(package, 3), **options)
    module.load_state_dict(loaded(package, "LSTM", **options).state_dict())
    as_seeded(package, 3)
    masks = output(package, source)[None]
    given = RESULTS[package](loaded(package, "LSTM", dropout=0.4, **options), *p, masks=masks)
    as_seeded(package, 3)
    assert_close(RESULTS[package](module, *p), given, 1e-6)


@pytest.mark.parametrize(("cell", "options", "p"), [(*each, 0.5) for each in LAYERS] + [(*LAYERS[0], 1.0)], ids=str)
@every_package
def test_given_masks_give_what_torch_nn_gives_with_them(package, cell, options, p):
    """torch.nn draws its masks one layer after another, each as dropout of ones; they hold in eval() too."""
    spec, args = specify(cell, "float64", dropout=p, **options), problem(cell, "float64", **options)
    theirs = loaded("torch.nn", cell, "float64", dropout=p, **options)
    shape = spec.mask_shape(T, B)
    torch.manual_seed(7)
    masks = torch.stack([torch.dropout(torch.ones(shape[1:], dtype=torch.float64), p, True) for _ in range(shape[0])])
    torch.manual_seed(7)
    reference = RESULTS["torch.nn"](theirs, *args)
    with jax.enable_x64(True):
        module = loaded(package, cell, "float64", dropout=p, **options)
        assert_close(RESULTS[package](module, *args, masks=masks.numpy()), reference, 1e-11)
        module.eval()
        assert_close(RESULTS[package](module, *args, masks=masks.numpy()), reference, 1e-11)


@every_layer
def test_masks_of_the_layout_act_alike_in_all_modules(cell, options):
    args = problem(cell, "float64", **options)
    masks = dropout_masks(specify(cell, "float64", dropout=0.3, **options), T, B, np.random.default_rng(0)).layers
    assert set(np.unique(masks)) == {0, 1 / 0.7}
    with jax.enable_x64(True):
        reference, *others = (
            RESULTS[package](loaded(package, cell, "float64", **options), *args, masks=masks)
            for package in ("torch", "numpy", "jax")
        )
        unmasked = RESULTS["torch"](loaded("torch", cell, "float64", **options), *args)
    for got in others:
        assert_close(got, reference, 1e-11)
    assert not np.allclose(unmasked["output 0"], reference["output 0"])


@pytest.mark.parametrize("form", ["padded", "packed", "sorted", "batch_first", "unbatched"])
@pytest.mark.parametrize(("num_layers", "p"), [(2, 0.5), (3, 0.5), (2, 1.0), (3, 1.0)])
def test_torch_draws_the_masks_of_torch_nn(num_layers, p, form):
    """To the bit, call after call: the probes give their masks as output."""
    options = {"batch_first": True} if form == "batch_first" else {}
    x = torch.zeros(*((T, I) if form == "unbatched" else (B, T, I) if options else (T, B, I)))
    given = x
    if form in ("packed", "sorted"):
        lengths = torch.tensor([9, 6, 6, 2, 1] if form == "sorted" else [2, 9, 1, 6, 6])
        given = pack_padded_sequence(x, lengths, enforce_sorted=form == "sorted")
    modules, drawn = [probe(package, p, num_layers, **options) for package in ("torch", "torch.nn")], []
    for module in modules:
        torch.manual_seed(5)
        drawn.append([jax.tree.leaves(module(given)) for _ in range(2)])
    ours, theirs = (jax.tree.leaves(both) for both in drawn)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert set(torch.unique(theirs[0]).tolist()) <= {0.0, 1 / (1 - p) ** (num_layers - 1) if p < 1 else 0.0}


@pytest.mark.parametrize("words", [(), ("unbatched",)], ids=str)
@every_layer
def test_torch_in_training_is_as_torch_nn_under_the_same_seed(cell, options, words):
    results = []
    for package in ("torch", "torch.nn"):
        module = loaded(package, cell, "float64", dropout=0.5, **options)
        torch.manual_seed(11)
        trained = RESULTS[package](module, *problem(cell, "float64", words, **options))
        results.append((trained, RESULTS[package](module.eval(), *problem(cell, "float64", words, **options))))
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, 1e-11)
    assert not np.allclose(results[0][0]["output 0"], results[0][1]["output 0"])


def test_jax_draws_fresh_masks_under_jit_and_takes_them_from_the_stream_named_dropout():
    def module(params, dropout):
        return probe("jax", 0.5, rngs=nnx.Rngs(params=params, dropout=dropout))

    one, x = module(0, 1), jnp.zeros((T, B, I))
    first, second = (np.asarray(compiled(one, x)) for _ in range(2))
    assert set(np.unique([first, second])) == {0, 2}
    assert not np.array_equal(first, second)
    assert np.array_equal(module(3, 1)(x)[0], first)  # not compiled
    assert not np.array_equal(compiled(module(0, 2), x), first)
    one.eval()
    assert np.all(np.asarray(compiled(one, x)) == 1)


def test_jax_vmaps_in_eval():
    module = loaded("jax", "LSTM", num_layers=2, dropout=0.5)
    module.eval()
    xs = np.random.default_rng(0).normal(size=(4, T, B, I)).astype("float32")
    together = jax.vmap(lambda x: module(x)[0])(xs)
    np.testing.assert_allclose(together, [loaded("jax", "LSTM", num_layers=2)(x)[0] for x in xs], atol=1e-6)


@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
@pytest.mark.parametrize("package", PACKAGES)
def test_dropout_without_a_layer_to_act_on_warns_where_the_module_is_built(package, cell):
    extra = {"rngs": nnx.Rngs(0)} if package == "jax" else {}
    kind, frame = getattr(PACKAGES[package], cell), inspect.currentframe()
    assert frame is not None
    line = frame.f_lineno + 2
    with pytest.warns(UserWarning, match="^dropout") as caught:
        module = kind(I, H, dropout=0.5, **extra)
    assert len(caught) == 1
    if package != "torch.nn":  # which says torch/nn/modules/rnn.py
        message = r"dropout: expected 0 with num_layers=1, got 0.5; it acts between layers, so it does nothing"
        assert (str(caught[0].message), caught[0].filename, caught[0].lineno) == (message, __file__, line)
    x = native(package, problem(cell)[0][0])
    assert_close(*(named(map(detached, call(module, x))) for _ in range(2)), tolerance=0)


@every_package
def test_wrong_masks_are_refused_by_name(package):
    x, good = np.zeros((T, B, I), "float32"), np.ones((1, T, B, H), "float32")
    for masks, num_layers, message in (
        (good, 1, "^masks: expected None with num_layers=1, as the last layer has no dropout, got masks"),
        (good[0], 2, r"^masks: expected \(1, 9, 5, 7\).*, got \(9, 5, 7\)"),
        (good[:, 1:], 2, r"^masks: expected \(1, 9, 5, 7\).*, got \(1, 8, 5, 7\)"),
        (good, 3, r"^masks: expected \(2, 9, 5, 7\).*, got \(1, 9, 5, 7\)"),
        (good.astype("float16"), 2, "^masks: expected .*float32.*, got .*float16"),
        ([good], 2, "^masks: expected .*, got list"),
    ):
        module = build(package, "RNN", num_layers=num_layers)
        with pytest.raises((InvalidInput, InvalidType), match=message):
            module(native(package, x), masks=native(package, masks))
