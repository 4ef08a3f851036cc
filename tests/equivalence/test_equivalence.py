"""The harness refuses to be fooled: by its own arrays, by what cannot be compared, by backends that cheat."""

import copy
import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from common import parallel
from common.backend import registry
from common.equivalence import ladder
from common.equivalence.comparison import FAILED, Row, compare, compare_all
from common.equivalence.ladder import all_passed
from common.equivalence.tolerances import Bound
from common.equivalence.training_rungs import DECODER_STEPS, O_SYMBOLS, VOCABULARY, O
from common.equivalence.variants import B, H, I, T, Variant, problem
from common.errors import BackendBroken, InvalidInput
from common.model.spec import ModelSpec
from common.parallel import Piece
from common.record_types import End

VARIANT = Variant(spec=ModelSpec(cell="RNN", input_size=I, hidden_size=H))


def test_sizes_are_distinct_and_states_nonzero() -> None:
    sizes = [T, B, I, H, O, O_SYMBOLS, VOCABULARY, DECODER_STEPS]
    assert len(set(sizes)) == len(sizes)
    assert min(sizes) > 1
    args = problem(VARIANT)
    for array in (args.x, args.dy, *(args.state0 or ()), *args.dstate):
        assert (array != 0).all()
    assert problem(replace(VARIANT, given_state=False)).state0 is None


def row(a: object, b: object, *, bound: Bound | None = None) -> Row:
    return compare("forward", VARIANT, "y", ("left", "right"), a, b, bound=bound or Bound(1e-3, 1.0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails(bad: float) -> None:
    assert row([1.0, bad], [1.0, bad]).verdict == FAILED
    assert row([1.0, bad], [1.0, 2.0]).verdict == FAILED
    assert row([1.0, 2.0], [1.0, bad]).verdict == FAILED


def test_nothing_compared_is_a_failure() -> None:
    empty = row(np.zeros((0, 3)), np.zeros((0, 3)))
    assert (empty.measured.count, empty.verdict) == (0, FAILED)
    assert not all_passed([])
    assert not all_passed([End(kind="end", records=0)])
    good: Any = row([1.0], [1.0], bound=Bound(1e-10, 1.0)).record()
    assert all_passed([End(kind="end", records=0), good])
    assert not all_passed([good, good | {"count": 0}])
    assert not all_passed([good, good | {"verdict": FAILED}])


def test_counts_are_those_of_the_elements() -> None:
    assert row(np.ones((4, 5)), np.ones((4, 5))).measured.count == 20


def test_shapes_and_quantities_must_match() -> None:
    with pytest.raises(BackendBroken, match=r"left gives shape \(2,\), right gives \(1, 2\)"):
        row([1.0, 2.0], [[1.0, 2.0]])
    with pytest.raises(BackendBroken, match="gives"):
        list(compare_all("forward", VARIANT, {"a": {"y": 1.0}, "b": {"z": 1.0}}))


def test_the_seed_decides_every_array() -> None:
    def arrays(seed: int) -> list[np.ndarray]:
        args = problem(replace(VARIANT, seed=seed))
        return [*args.params.values(), args.x, args.dy, *(args.state0 or ()), *args.dstate]

    assert all((a == b).all() for a, b in zip(arrays(3), arrays(3), strict=True))
    assert not any((a == b).any() for a, b in zip(arrays(3), arrays(4), strict=True))


def test_a_result_in_another_dtype_fails() -> None:
    assert row(np.ones(2), np.ones(2)).verdict != FAILED
    for wrong in (np.ones(2, "float32"), np.ones(2, "complex128")):
        assert row(np.ones(2), wrong).verdict == FAILED
        assert row(wrong, np.ones(2)).verdict == FAILED


def test_a_backend_that_raises_is_named() -> None:
    def forward(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    broken = copy.copy(registry.load("numpy"))
    setattr(broken, "forward", forward)  # noqa: B010 - no method of the protocol can be assigned to
    boom = r"backend mine fails while it computes: RuntimeError: boom \(test_equivalence.py, line \d+\)$"
    with pytest.raises(BackendBroken, match=boom):
        list(ladder.check({"mine": broken}, [VARIANT]))


def test_what_cannot_be_compared_says_why() -> None:
    ones = np.ones(2)
    assert row(ones, np.ones(2, "float32")).decision.reason == "right gives float32, not float64"
    assert row(np.array([1, np.nan]), ones).decision.reason == "left gives nan"
    assert row(ones, np.array([1, -np.inf])).decision.reason == "right gives -inf"
    assert row(np.ones(0), np.ones(0)).decision.reason == "nothing to compare"
    assert row(ones, ones).decision.reason == row(ones, ones + 1).decision.reason == ""


@pytest.mark.parametrize(("part", "quantity"), [(0, "y"), (1, "h_n")])
def test_a_result_of_another_shape_is_named(part: int, quantity: str) -> None:
    wrong = copy.copy(registry.load("numpy"))
    real = wrong.forward

    def forward(*args: Any, **keywords: Any) -> Any:
        y, (h_n,) = real(*args, **keywords)
        return (y.swapaxes(0, 1), (h_n,)) if part == 0 else (y, (h_n[0],))

    setattr(wrong, "forward", forward)  # noqa: B010 - no method of the protocol can be assigned to
    with pytest.raises(
        BackendBroken, match=rf"^{quantity} of backend mine: expected an array of shape \(.*\), got \(5, .*7\)$"
    ):
        list(ladder.check({"mine": wrong}, [VARIANT]))


def altered(**methods: Any) -> Any:
    """NumPy's backend with methods of its own, each given the real one first."""
    backend = copy.copy(registry.load("numpy"))
    for name, method in methods.items():
        setattr(backend, name, partial(method, getattr(backend, name)))
    return backend


def test_two_backends_that_are_wrong_alike_differ_from_the_exact_result() -> None:
    def forward(real: Any, *args: Any, **keywords: Any) -> Any:
        y, state = real(*args, **keywords)
        return y * 1.01, state

    def vjp(real: Any, *args: Any, **keywords: Any) -> Any:
        grads = real(*args, **keywords)
        return grads._replace(x=grads.x * 0)

    twins = {"one": altered(forward=forward, vjp=vjp), "two": altered(forward=forward, vjp=vjp)}
    rows = [row for row in ladder.check_model(twins, VARIANT) if row.check != "complex step"]
    failed = {(row.quantity, row.a, row.b) for row in rows if row.verdict == FAILED}
    assert failed == {(quantity, name, "exact") for quantity in ("y", "dx") for name in twins}


@pytest.mark.parametrize("name", ["params", "x", "state0", "dy", "dstate", "lengths", "masks"])
def test_a_backend_that_changes_its_arguments_is_broken_and_harms_no_other(name: str) -> None:
    """Put first, it would give the next one other numbers, and the same wrong ones to both."""
    spec = ModelSpec(cell="RNN", input_size=3, hidden_size=4, num_layers=2, dropout=0.5)
    variant = Variant(spec=spec, steps=4, batch=3, lengths=(4, 0, 2))

    def vjp(real: Any, spec: Any, params: Any, x: Any, state0: Any, dy: Any, dstate: Any, **keywords: Any) -> Any:
        found = real(spec, params, x, state0, dy, dstate, **keywords)
        given = {"params": params["weight_hh_l1"], "x": x, "state0": state0[0], "dy": dy, "dstate": dstate[0]}
        (given | keywords)[name][-1] = 1
        return found

    backends = {"changes": altered(vjp=vjp), "torch": registry.load("torch")}
    with pytest.raises(BackendBroken, match=f"backend changes .*{name}, an argument, was changed in place"):
        list(ladder.check_model(backends, variant))


def test_results_are_arrays_of_numpy() -> None:
    """A list, or a tensor of another dtype, would go past the comparison of dtypes."""

    def forward(real: Any, *args: Any, **keywords: Any) -> Any:
        y, state = real(*args, **keywords)
        return y.tolist(), state

    message = r"^y of backend mine: expected an array of shape \(9, 5, 7\), got list$"
    with pytest.raises(BackendBroken, match=message):
        list(ladder.check_model({"mine": altered(forward=forward)}, VARIANT))

    def vjp(real: Any, *args: Any, **keywords: Any) -> Any:
        grads = real(*args, **keywords)
        return grads._replace(params=grads.params | {"more": grads.x})

    with pytest.raises(BackendBroken, match=r"^results of backend mine: expected dweight_ih, .*, got .*dmore"):
        list(ladder.check_model({"mine": altered(vjp=vjp)}, VARIANT))


@pytest.mark.parametrize("name", ["exact", "complex step"])
def test_no_backend_has_the_name_of_an_oracle(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^the name of a backend: expected another than .*, got '{name}'$"):
        list(ladder.check({name: registry.load("numpy")}, [VARIANT]))


def test_a_backend_that_lacks_a_cell_is_refused_and_not_left_out() -> None:
    backends = {name: registry.load(name) for name in ("numpy", "one-bias")}
    lstm = Variant(spec=ModelSpec(cell="LSTM", input_size=3, hidden_size=7))
    with pytest.raises(InvalidInput, match="cell for backend one-bias: expected one of RNN, RNNCell, got 'LSTM'"):
        list(ladder.check(backends, [lstm]))


def test_only_an_oracle_is_excused_and_only_from_a_form_of_a_step() -> None:
    """A framework's own layers may lack a form; a user's backend may not, and an oracle no other option."""

    def lacking(name: str, *options: str, oracle: bool) -> Any:
        backend = copy.copy(registry.load(name))
        for field, value in (("options", registry.load(name).options - {*options}), ("oracle", oracle)):
            setattr(backend, field, value)
        return backend

    spec = ModelSpec(cell="GRU", input_size=3, hidden_size=4, reset_after=False)
    before, after = (Variant(spec=replace(spec, reset_after=form), steps=3, batch=2) for form in (False, True))
    backends = {name: registry.load(name) for name in ("numpy", "torch", "torch.nn")}
    rows = list(ladder.check(backends, [before, after]))
    seen = {(row.variant.label, name) for row in rows for name in (row.a, row.b) if name in backends}
    assert seen == {("GRU", name) for name in backends} | {("GRU reset before", name) for name in ("numpy", "torch")}
    with pytest.raises(InvalidInput, match=r"options for backend torch: expected .*, got 'reset_before'"):
        list(
            ladder.check({"numpy": backends["numpy"], "mine": lacking("torch", "reset_before", oracle=False)}, [before])
        )
    deep = Variant(spec=replace(spec, num_layers=2), steps=3, batch=2)
    for options, named in ((("num_layers",), "num_layers"), (("num_layers", "reset_before"), "num_layers")):
        oracle = lacking("torch", *options, oracle=True)
        with pytest.raises(InvalidInput, match=rf"options for backend torch: expected .*, got '{named}'"):
            list(ladder.check({"numpy": backends["numpy"], "theirs": oracle}, [deep]))


def test_names_are_those_that_the_caller_gave() -> None:
    """Two backends that call themselves the same are still compared."""
    twins = {"first": registry.load("numpy"), "second": registry.load("numpy")}
    rows = [row for row in ladder.check(twins, [VARIANT]) if row.check == "forward"]
    assert {(row.a, row.b) for row in rows} == {("first", "second"), ("first", "exact"), ("second", "exact")}


def test_processes_give_the_same_rows_in_the_same_order() -> None:
    work = [Piece(str(value), abs, (value,)) for value in range(7)]
    assert list(parallel.run(work, 3)) == list(parallel.run(work, 1)) == list(range(7))


def test_processes_are_renewed() -> None:
    ids = list(parallel.run([Piece("id", os.getpid)] * 5, 2, pieces_a_process=1))
    assert len(ids) == 5
    assert len({*ids[:2], *ids[2:4], ids[4]}) >= 3
    assert not {*ids[:2]} & {*ids[2:4]}
