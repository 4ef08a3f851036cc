"""Masks of valid steps: what Keras gives for them, what they have in common with lengths, and wrong ones.

That all backends agree on masks with padding on the left and with holes, and on masks of dropout, is what the drawn
variants are for; the bugs are planted in ``test_planted_masks``.
"""

from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Batch
from common.equivalence import ladder
from common.equivalence.shrinking import shrink, simplifications
from common.equivalence.variants import Variant, draw, problem, random_problem
from common.errors import InvalidInput, InvalidType
from common.model.cells import LAYERS
from common.model.initial import initial_network
from common.model.masks import Masks, mask_shapes
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import OPTIONS, ModelSpec
from tests.backend.modules.calls import build, every_package, native

T, B, I, H = 4, 3, 2, 5
HOLES = np.array([[0, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0]], bool)
SPEC = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2, bidirectional=True)
# y[t, b] of Keras 3.15.1, which computes in float32, with zero_output_for_mask=True, for the weights and x of
# ``by_formula``.
KERAS: dict[tuple[str, bool], Any] = {
    ("RNN", True): [
        [[0.0, 0.0], [-0.816876, -0.934395]],
        [[-0.321244, -0.912407], [0.0, 0.0]],
        [[0.0, 0.0], [-0.607677, -0.893109]],
        [[-0.902961, -0.119877], [-0.132172, -0.950018]],
    ],
    ("LSTM", True): [
        [[0.0, 0.0], [0.051986, -0.076568]],
        [[0.015473, -0.024831], [0.0, 0.0]],
        [[0.0, 0.0], [0.047525, -0.105176]],
        [[0.052868, -0.088367], [0.043205, -0.094635]],
    ],
    ("GRU", True): [
        [[0.0, 0.0], [0.451935, -0.242675]],
        [[0.110611, 0.029317], [0.0, 0.0]],
        [[0.0, 0.0], [0.578028, -0.16466]],
        [[0.547228, -0.03648], [0.608887, -0.003493]],
    ],
    ("GRU", False): [
        [[0.0, 0.0], [0.457396, -0.297229]],
        [[0.199933, -0.025193], [0.0, 0.0]],
        [[0.0, 0.0], [0.599863, -0.375481]],
        [[0.622377, -0.111343], [0.651395, -0.30863]],
    ],
}


def by_formula(spec: ModelSpec) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights and x (4, 2, 2) that can be written down elsewhere."""
    rows = 2 * spec.num_blocks
    shapes = {"weight_ih_l0": (rows, 2), "weight_hh_l0": (rows, 2), "bias_ih_l0": (rows,), "bias_hh_l0": (rows,)}
    params = {
        name: np.sin(seed + 1.3 * np.arange(np.prod(shape))).reshape(shape)
        for seed, (name, shape) in enumerate(shapes.items(), start=1)
    }
    return params, np.cos(1.7 * np.arange(16)).reshape(4, 2, 2)


@pytest.mark.parametrize(("cell", "reset_after"), KERAS)
def test_the_valid_steps_are_those_of_keras(cell: str, reset_after: bool) -> None:
    """Padding on the left of sequence 0, and a hole; a hole in sequence 1. Keras' gates z, r, h are our r, z, n."""
    spec = ModelSpec(cell=cell, input_size=2, hidden_size=2, reset_after=reset_after)
    mask = np.array([[False, True], [True, False], [False, True], [True, True]])
    params, x = by_formula(spec)
    y, (h_n, *_) = registry.load("numpy").forward(spec, params, x, mask=mask)
    np.testing.assert_allclose(y, KERAS[cell, reset_after], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(h_n[0], y[3])


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_a_mask_that_says_what_lengths_say_gives_the_same_to_the_bit(name: str) -> None:
    backend, lengths = registry.load(name), np.array([4, 0, 2])
    args = random_problem(SPEC, T, B, 0)
    mask = np.arange(T)[:, None] < lengths
    results = []
    for keywords in ({"lengths": lengths}, {"mask": mask}):
        y, state = backend.forward(SPEC, *args[:3], **keywords)
        grads = backend.vjp(SPEC, *args[:5], **keywords)
        results.append([y, *state, *grads.params.values(), grads.x, *grads.state0])
    for of_lengths, of_mask in zip(*results, strict=True):
        np.testing.assert_array_equal(of_lengths, of_mask)


def test_what_x_holds_at_other_steps_does_not_matter() -> None:
    backend, args = registry.load("numpy"), random_problem(SPEC, T, B, 0)
    huge = np.where(HOLES[:, :, None], args.x, 1e300)
    first, second = (backend.vjp(SPEC, args.params, x, *args[2:5], mask=HOLES) for x in (args.x, huge))
    np.testing.assert_array_equal(first.x, second.x)
    assert not first.x[~HOLES].any()
    assert first.x[HOLES].all()
    for name, grad in first.params.items():
        np.testing.assert_array_equal(grad, second.params[name])


WRONG: list[tuple[Any, type[Exception], str]] = [
    (HOLES.tolist(), InvalidType, "mask: expected a numpy.ndarray, got list"),
    (HOLES.astype(float), InvalidType, "mask: expected booleans, True where a step is valid, got float64; mask > 0"),
    (HOLES.T, InvalidInput, r"mask: expected \(4, 3\), \(T, B\), got \(3, 4\); transposed\?"),
    (HOLES[1:], InvalidInput, r"mask: expected \(4, 3\), \(T, B\), got \(3, 3\)"),
    (HOLES[:, :, None], InvalidInput, r"mask: expected \(4, 3\), \(T, B\), got \(4, 3, 1\)"),
]  # fmt: skip


@pytest.mark.parametrize(("mask", "error", "message"), WRONG, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("name", ["numpy", "jax", "torch", "torch.nn", "flax"])
def test_a_wrong_mask_is_refused(name: str, mask: Any, error: type[Exception], message: str) -> None:
    backend, args = registry.load(name), random_problem(SPEC, T, B, 0)._replace(mask=mask)
    calls = [
        lambda: backend.forward(SPEC, *args[:3], mask=mask),
        lambda: backend.vjp(SPEC, *args[:5], mask=mask),
        lambda: backend.timed(SPEC, args, backward=True),
    ]
    for call in calls:
        with pytest.raises(error, match=f"^{message}"):
            call()
    both = args._replace(mask=HOLES, lengths=np.array([1, 2, 3]))
    with pytest.raises(InvalidInput, match=r"^mask: expected None where lengths are given, got both; each says"):
        backend.forward(SPEC, *both[:3], **both.keywords)


@pytest.mark.parametrize("kind", ["layers", "input", "recurrent"])
@pytest.mark.parametrize("name", ["numpy", "jax", "torch", "torch.nn", "flax"])
def test_wrong_masks_of_dropout_are_refused(name: str, kind: str) -> None:
    backend, args = registry.load(name), random_problem(SPEC, T, B, 0)
    good = Masks(*map(np.ones, mask_shapes(SPEC, T, B)))
    axes = {"layers": r"\(L-1, T, B, D\*H\)", "input": r"\(B, I\)", "recurrent": r"\(D\*L, B, H\)"}[kind]
    array = getattr(good, kind)
    for wrong, error, message in (
        (array[..., 1:], InvalidInput, rf"expected .* for LSTM 2 layers bidirectional, {axes}, got"),
        (array.astype("float32"), InvalidType, "expected float64 .*, got float32"),
        (np.full_like(array, np.nan), InvalidInput, "expected finite values, got nan"),
        ([array], InvalidType, "expected a numpy.ndarray, got list"),
    ):
        with pytest.raises(error, match=rf"^masks\.{kind}: {message}"):
            backend.forward(SPEC, *args[:3], masks=good._replace(**{kind: wrong}))
    step = ModelSpec(cell="LSTMCell", input_size=I, hidden_size=H)
    if kind != "layers":
        with pytest.raises(InvalidInput, match=rf"^masks\.{kind}: expected None for LSTMCell, which is one step, got"):
            backend.forward(step, *random_problem(step, T, B, 0)[:3], masks=Masks(**{kind: np.ones((B, I))}))


class Older:
    """A backend from before masks of steps and of one step: ``forward`` and ``vjp`` have no keyword ``mask``."""

    name, oracle = "older", False
    options = frozenset(OPTIONS) - {"mask", "input_dropout", "recurrent_dropout"}

    def __init__(self) -> None:
        self.real: Any = registry.load("numpy")
        self.cells, self.dtypes = self.real.cells, frozenset({"float64"})

    def forward(self, *args: Any, lengths: Any = None, masks: Any = None) -> Any:
        assert masks is None or isinstance(masks, np.ndarray)
        return self.real.forward(*args, lengths=lengths, masks=masks)

    def vjp(self, *args: Any, lengths: Any = None, masks: Any = None) -> Any:
        assert masks is None or isinstance(masks, np.ndarray)
        return self.real.vjp(*args, lengths=lengths, masks=masks)


def test_a_backend_without_the_options_is_called_as_before() -> None:
    backends: Any = {"numpy": registry.load("numpy"), "older": Older()}
    asked = {"lengths": 0, "dropout": 0}
    for seed in range(40):
        variant = draw(LAYERS[seed % len(LAYERS)], "float64", seed, 0)
        rows = ladder.check_drawn(backends, variant)
        new = {"mask", "input_dropout", "recurrent_dropout"} & {*variant.options}
        assert bool(new) != any("older" in (row.a, row.b) for row in rows)
        assert not [row for row in rows if row.verdict == "failed"]
        for name in asked:
            asked[name] += not new and name in variant.options and (name == "lengths" or variant.training)
    assert all(asked.values())
    with pytest.raises(InvalidInput, match=r"^options for backend older: expected none but .*, got 'mask'$"):
        ladder.require_all_supported(backends, [Variant(spec=SPEC, steps=2, batch=1, mask=("01",))])


@pytest.mark.parametrize("readout", ["last_step", "final_state", "every_step"])
def test_a_network_reads_out_the_last_valid_step_and_learns_from_valid_steps(readout: str) -> None:
    """The same from sequences cut out of the batch: compacted, they have lengths."""
    network = NetworkSpec(model=SPEC, readout_size=2, readout=readout)
    x, rng = random_problem(SPEC, T, B, 0).x, np.random.default_rng(1)
    target = rng.standard_normal((T, B, 2) if readout == "every_step" else (B, 2))
    order = np.argsort(~HOLES, axis=0, kind="stable")
    compact = np.take_along_axis(x, order[:, :, None], axis=0)
    moved = np.take_along_axis(target, order[:, :, None], axis=0) if readout == "every_step" else target
    batches = Batch(x, target, mask=HOLES), Batch(compact, moved, lengths=HOLES.sum(axis=0))
    params, run = initial_network(network, 0), RunSpec(network=network, optimizer=OptimizerSpec())
    results = []
    for own, batch in ((own, batch) for own in ("numpy", "torch", "jax") for batch in batches):
        trainer = registry.load(own).trainer(run, params)
        loss, grads = trainer.gradients(batch)
        results.append(np.concatenate([[loss, trainer.step(batch)], *(grads[name].ravel() for name in sorted(grads))]))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=1e-13)
    sequences = NetworkSpec(model=SPEC, readout_size=2, readout="last_sequence")
    with pytest.raises(
        InvalidInput, match=r"^mask: expected None for last_sequence, whose steps are examples, got mask"
    ):
        registry.load("numpy").predict(sequences, initial_network(sequences, 0), batches[0])


@pytest.mark.parametrize("layout", ["(T, B)", "(B, T)", "unbatched"])
@every_package
def test_a_module_takes_a_mask_in_the_layout_of_x(package: str, layout: str) -> None:
    x = random_problem(SPEC.with_dtype("float32"), T, B, 0).x
    module = build(package, "LSTM", I, H, num_layers=2, batch_first=layout == "(B, T)")
    params = {name: np.asarray(value) for name, value in module.state_dict().items()}
    spec = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2, dtype="float32")
    wanted, _ = registry.load("numpy").forward(spec, params, x, mask=HOLES)
    enter = {"(T, B)": np.asarray, "(B, T)": lambda a: a.swapaxes(0, 1), "unbatched": lambda a: a[:, 1]}[layout]
    y = module(native(package, np.ascontiguousarray(enter(x))), mask=native(package, enter(HOLES)))[0]
    np.testing.assert_allclose(y.detach() if package == "torch" else y, enter(wanted), rtol=0, atol=1e-6)
    with pytest.raises(InvalidType, match=r"^mask: expected booleans"):
        module(native(package, np.ascontiguousarray(enter(x))), mask=native(package, enter(HOLES).astype("float32")))


@every_package
def test_a_module_drops_its_input_and_its_state_in_training_alone(package: str) -> None:
    """The masks that it is given, it applies as the core does."""
    spec = ModelSpec(cell="GRU", input_size=I, hidden_size=H, dtype="float32")
    x, masks = random_problem(spec, T, B, 0).x, Masks(None, np.full((B, I), 2.0, "f4"), np.full((1, B, H), 0.5, "f4"))
    module = build(package, "GRU", I, H, input_dropout=0.5, recurrent_dropout=0.5)
    assert (module.input_dropout, module.recurrent_dropout) == (0.5, 0.5)
    assert "input_dropout=0.5, recurrent_dropout=0.5" in repr(module) or package == "jax"
    params = {name: np.asarray(value) for name, value in module.state_dict().items()}
    wanted = [registry.load("numpy").forward(spec, params, x, masks=given)[0] for given in (masks, None)]

    def output(**keywords: Any) -> np.ndarray:
        y = module(native(package, x), **keywords)[0]
        return np.asarray(y.detach() if package == "torch" else y)

    np.testing.assert_allclose(output(masks=native(package, masks)), wanted[0], rtol=0, atol=1e-6)
    first, second = output(), output()
    assert np.abs(first - second).max() > 1e-3
    assert np.abs(first - wanted[1]).max() > 1e-3
    module.eval()
    np.testing.assert_allclose(output(), wanted[1], rtol=0, atol=1e-6)


def test_a_mask_is_shrunk_to_padding_on_the_left_or_to_one_hole() -> None:
    spec = ModelSpec(cell="RNN", input_size=2, hidden_size=2, recurrent_dropout=0.5)
    full = Variant(spec=spec, steps=4, batch=2, mask=("1010", "0110"))
    assert {variant.mask for variant in simplifications(full)} >= {
        None,
        ("0111", "0111"),
        ("1011", "1011"),
        ("10", "01"),
    }

    def needs_a_hole(variant: Variant) -> bool:
        return variant.mask is not None and any("101" in word for word in variant.mask)

    small = shrink(full, needs_a_hole)
    assert (small.mask, small.spec.recurrent_dropout, small.steps) == (("101", "101")[: small.batch], 0.0, 3) or (
        small.mask,
        small.steps,
    ) == (("1011",), 4)
    mask = problem(full).mask
    assert mask is not None
    assert mask.T.tolist() == [[True, False, True, False], [False, True, True, False]]
    for wrong, message in (
        (("10",), "2 words, one for each sequence, got 1"),
        (("1010", "01"), "words of 4 letters 0 and 1, got '01'"),
        (("1010", "01x0"), "words of 4 letters 0 and 1, got '01x0'"),
    ):
        with pytest.raises(InvalidInput, match=f"^mask: expected {message}$"):
            Variant(spec=spec, steps=4, batch=2, mask=wrong)
