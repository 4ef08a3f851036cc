"""Ragged batches in the idiomatic modules: packed sequences in torch, ``lengths`` in all three, and what is padding."""

import inspect

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from jax.core import Tracer
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from common.errors import InvalidInput
from tests.backend.modules.calls import (
    LENGTHS,
    RESULTS,
    TOLERANCE,
    B,
    I,
    P,
    T,
    assert_close,
    build,
    call,
    every_package,
    jax_results,
    loaded,
    named,
    native,
    pack,
    problem,
    torch_results,
)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
PACKED = [
    ("RNN", {}, ()),
    ("RNN", {"num_layers": 2, "bidirectional": True, "batch_first": True}, ("no hx",)),
    ("LSTM", {"num_layers": 3, "batch_first": True}, ()),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": P}, ()),
    ("LSTM", {"bidirectional": True}, ("no hx",)),
    ("GRU", {"num_layers": 2, "bidirectional": True}, ()),
    ("LSTM1997", {"batch_first": True}, ()),
]
TWO = [PACKED[1], PACKED[3]]
every_packed = pytest.mark.parametrize(("cell", "options", "words"), PACKED, ids=str)
every_two = pytest.mark.parametrize(("cell", "options", "words"), TWO, ids=str)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("enforce_sorted", [True, False])
@every_packed
def test_torch_takes_and_gives_packed_sequences_as_torch_nn(cell, options, words, enforce_sorted, dtype):
    """Field by field; and the gradients of the padded x, of hx and of the parameters."""
    arrays, _ = problem(cell, dtype, words, **options)
    lengths = torch.tensor(np.sort(LENGTHS)[::-1].copy() if enforce_sorted else LENGTHS)
    results, rng = [], np.random.default_rng(4)
    cotangents = [torch.tensor(rng.normal(size=size), dtype=getattr(torch, dtype)) for size in (4000, 4000, 4000)]
    for package in ("torch", "torch.nn"):
        module, inputs = loaded(package, cell, dtype, **options), [torch.tensor(a, requires_grad=True) for a in arrays]
        batch_first = options.get("batch_first", False)
        packed = pack_padded_sequence(inputs[0], lengths, batch_first, enforce_sorted=enforce_sorted)
        y, state = module(packed, pack(inputs[1:]))
        assert type(y) is PackedSequence
        outputs, params = [y.data, *jax.tree.leaves(state)], dict(module.named_parameters())
        given = [d[: out.numel()].view_as(out) for out, d in zip(outputs, cotangents, strict=False)]
        grads = torch.autograd.grad(outputs, [*inputs, *params.values()], given)
        of_params = zip(params, grads[len(inputs) :], strict=True)
        results.append((y, named([out.detach() for out in outputs], grads[: len(inputs)], of_params)))
    (ours, got), (theirs, reference) = results
    assert_close(got, reference, TOLERANCE[dtype])
    assert torch.equal(ours.batch_sizes, theirs.batch_sizes)
    assert (theirs.sorted_indices is None) == (theirs.unsorted_indices is None) == enforce_sorted
    for mine, other in ((ours.sorted_indices, theirs.sorted_indices), (ours.unsorted_indices, theirs.unsorted_indices)):
        assert mine is other is None or torch.equal(mine, other)


def test_torch_refuses_lengths_with_a_packed_sequence():
    packed = pack_padded_sequence(torch.zeros(T, B, I), torch.tensor(LENGTHS), enforce_sorted=False)
    with pytest.raises(InvalidInput, match=r"^lengths: expected None with a PackedSequence, got ndarray$"):
        build("torch", "RNN")(packed, lengths=LENGTHS)


@pytest.mark.parametrize("form", ["list", "tuple", "own", "int32", "int8", "uint8", "uint64"])
@every_package
def test_lengths_in_any_form(package, form):
    """A list, a tuple, unsigned and narrow integers, an array of the framework: one meaning."""
    x, module = native(package, problem("RNN")[0][0]), build(package, "RNN", bidirectional=True)
    forms = {
        "list": LENGTHS.tolist(),
        "tuple": tuple(LENGTHS.tolist()),
        "own": native(package, LENGTHS.astype("int32")),
    }
    got, reference = (
        named([leaf.detach() if package == "torch" else leaf for leaf in call(module, x, lengths=lengths)])
        for lengths in (forms[form] if form in forms else LENGTHS.astype(form), LENGTHS)
    )
    assert_close(got, reference, 0)
    for b, length in enumerate(LENGTHS):
        assert np.all(got["output 0"][:length, b])
        assert not np.any(got["output 0"][length:, b])


@every_two
def test_jax_compiles_once_for_all_lengths(cell, options, words):
    """They are a traced argument, so other lengths need no other program; eager calls say the same."""
    traces = []

    def counted(module, x, lengths):
        traces.append(lengths)
        return call(module, x, lengths=lengths)

    compiled, module = nnx.jit(counted), loaded("jax", cell, **options)
    x = problem(cell, **options)[0][0]
    for lengths in (LENGTHS, LENGTHS[::-1].copy(), np.full(B, T)):
        with torch.no_grad():
            reference = named(call(loaded("torch.nn", cell, **options), torch.tensor(x), lengths=lengths))
        assert_close(named(compiled(module, x, lengths)), reference, 1e-5)
        assert isinstance(traces[0], Tracer)
    assert len(traces) == 1
    assert_close(named(call(module, x, lengths=lengths)), reference, 1e-5)


@pytest.mark.parametrize("traced", [True, False])
@every_two
@pytest.mark.parametrize("package", ["jax", "torch"])
def test_nan_in_the_padding_does_no_harm(package, cell, options, words, traced):
    """Outputs, final states and all gradients are those of torch.nn on the packed sequence."""
    inputs, cotangents = problem(cell, "float64", words, **options)
    batch_axis = 0 if options.get("batch_first") else 1
    padding = np.arange(T) >= LENGTHS[:, None] if batch_axis == 0 else np.arange(T)[:, None] >= LENGTHS
    reference = torch_results(loaded("torch.nn", cell, "float64", **options), inputs, cotangents, lengths=LENGTHS)
    inputs[0][padding] = np.nan
    with jax.enable_x64(True):
        module = loaded(package, cell, "float64", **options)
        if package == "jax":
            transform = nnx.jit if traced else lambda function: function
            got = jax_results(module, inputs, cotangents, transform, lengths=LENGTHS)
        else:
            got = torch_results(module, inputs, cotangents, lengths=LENGTHS)
    assert not np.any(reference["gradient of input 0"][padding])
    assert_close(got, reference, 1e-11)


def test_numpy_takes_nan_in_the_padding_alone():
    x, *_ = problem("LSTM")[0]
    module, padding = loaded("numpy", "LSTM"), np.arange(T)[:, None] >= LENGTHS
    assert padding.any()
    clean = call(module, x, lengths=LENGTHS)
    spoiled = np.where(padding[:, :, None], np.float32("nan"), x)
    for got, expected in zip(call(module, spoiled, lengths=LENGTHS), clean, strict=True):
        assert np.array_equal(got, expected)
    spoiled[LENGTHS[2] - 1, 2, 1] = np.nan
    with pytest.raises(InvalidInput, match=r"^x: expected finite values, got nan at index \(\d, 2, 1\)$"):
        call(module, spoiled, lengths=LENGTHS)


@every_package
def test_lengths_and_masks_together(package):
    """As a batch whose sequences are run one by one, each with its own part of the masks."""
    options = {"num_layers": 2, "bidirectional": True}
    (x, h, c), (dy, dh, dc) = problem("LSTM", "float64", **options)
    masks = np.random.default_rng(3).choice([0.0, 2.0], size=(1, T, B, dy.shape[2]))
    with jax.enable_x64(True):
        module = loaded(package, "LSTM", "float64", **options)
        got = RESULTS[package](module, [x, h, c], [dy, dh, dc], lengths=LENGTHS, masks=masks)
        oracle, total = loaded("torch", "LSTM", "float64", **options), {}
        for b, length in enumerate(LENGTHS):
            part = np.s_[:length, b : b + 1], np.s_[:, b : b + 1]
            alone = RESULTS["torch"](
                oracle,
                [x[part[0]], h[part[1]], c[part[1]]],
                [dy[part[0]], dh[part[1]], dc[part[1]]],
                masks=masks[:, *part[0]],
            )
            for name in ("output 0", "gradient of input 0"):
                assert not np.any(got[name][length:, b])
                np.testing.assert_allclose(got[name][part[0]], alone[name], rtol=0, atol=1e-12)
            for name in ("output 1", "output 2", "gradient of input 1", "gradient of input 2"):
                np.testing.assert_allclose(got[name][part[1]], alone[name], rtol=0, atol=1e-12)
            for name in module.state_dict():
                total[name] = total.get(name, 0) + alone[name]
    assert_close({name: got[name] for name in total}, total, 1e-11)


@every_package
def test_a_cell_has_no_lengths(package):
    module = build(package, "LSTMCell")
    assert "lengths" not in inspect.signature(module.forward if package == "torch" else module.__call__).parameters


@pytest.mark.parametrize("training", [True, False])
def test_given_masks_act_on_a_packed_batch_too(training):
    """In evaluation as well: a caller who gives masks wants them."""
    longest = max(LENGTHS)
    x = torch.tensor(problem("RNN")[0][0])[:longest]
    module = loaded("torch", "RNN", num_layers=2, dropout=0.5).train(training)
    masks = torch.tensor(np.random.default_rng(5).choice([0.0, 2.0], size=(1, longest, B, module.hidden_size))).float()
    y, h_n = module(x, lengths=LENGTHS, masks=masks)
    assert (y - module.eval()(x, lengths=LENGTHS)[0]).abs().max() > 1e-2
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    data, h_packed = module.train(training)(packed, masks=masks)
    assert torch.equal(data.data, pack_padded_sequence(y, torch.tensor(LENGTHS), enforce_sorted=False).data)
    assert torch.equal(h_packed, h_n)


def test_numpy_keeps_masks_and_lengths_as_they_were_at_the_call():
    (x, *_), (dy, *_) = problem("RNN", num_layers=2)
    masks = np.random.default_rng(5).choice([0.0, 2.0], size=(1, T, B, dy.shape[2])).astype("float32")
    found = []
    for spoil in (False, True):
        module, given, lengths = loaded("numpy", "RNN", num_layers=2), masks.copy(), np.array(LENGTHS)
        module(x, masks=given, lengths=lengths)
        if spoil:
            given[:], lengths[:] = 0, 1
        found.append(module.backward(dy)[0])
    assert np.array_equal(*found)
