"""How far rounding can carry each result of a problem, measured on the problem itself.

The network is computed again, in float64 and in Monte Carlo arithmetic (Parker 1997): every input is moved by one
rounding of the dtype that is checked, and so is every intermediate result, each up or down at random. The result of
such a run is as good an answer as any that the dtype allows, so the distance of the farthest one from the exact one
measures the rounding error of a correct implementation. No backend takes part, so none can widen its own bound.

A gate is a number between 0 and 1, and is moved by a rounding of 1: sigmoid(a) is often computed as (tanh(a/2) + 1)/2,
which is only that accurate, and so are the factors 1 - i and 1 - g*g of a slope.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from common.backend.contract import Grads, Problem
from common.backend.guards import zero_state
from common.equivalence.monte_carlo import Rounding
from common.model.layout import Weights, layer_suffixes, layer_weights, named_weights
from common.model.masks import Masks, as_masks
from common.model.spec import ModelSpec

# Runs besides the exact one. The results of a large problem have so many elements that a few runs show the farthest;
# they are made one by one, to save memory.
DRAWS, FEW_DRAWS, LARGE = 16, 4, 20_000

State = tuple[np.ndarray, ...]
Answer = tuple[np.ndarray, State, Grads]
NO_GRADS = Grads({}, np.empty(0), ())


def answers(
    spec: ModelSpec, problem: Problem, seed: int, exact: Answer | None = None, *, backward: bool = True
) -> list[Answer]:
    """The exact answer to a problem, followed by some that the specification's dtype might give; all in float64.

    For a float64 problem, the rounding is as large as ``MEASURABLE``. y is (T, B, D*H). ``exact``, if it is known from
    another dtype, is not computed again where the runs are made one by one. Without ``backward`` there are no
    gradients.
    """
    rng = np.random.default_rng([seed, 11])
    large = sum(value.size for value in (*problem.params.values(), problem.x)) > LARGE
    together = [[run] for run in range(1 + FEW_DRAWS)] if large else [range(1 + DRAWS)]
    known = [exact] if large and exact is not None else []
    runs = [Rounding(spec.dtype, np.sign(runs), rng) for runs in together[len(known) :]]
    return known + [answer for r in runs for answer in _runs(spec, problem, r, backward)]


def exact_outputs(spec: ModelSpec, problem: Problem) -> tuple[np.ndarray, State]:
    """The exact y and the exact final state of a problem, in float64."""
    r = Rounding(spec.dtype, np.sign([0]), np.random.default_rng(0))
    (answer,) = _runs(spec, problem, r, backward=False)
    return answer[:2]


def _runs(spec: ModelSpec, problem: Problem, r: Rounding, backward: bool) -> Iterator[Answer]:
    """Some runs side by side, in the time of one if the problem is small."""
    y, final, back = _network(spec, problem, r)
    if not backward:
        yield from ((y[:, k], tuple(part[:, k] for part in final), NO_GRADS) for k in range(y.shape[1]))
        return
    grads = back()
    for k in range(y.shape[1]):
        params = {name: value[k, 0] if name.startswith("bias") else value[k] for name, value in grads.params.items()}
        initial = tuple(part[:, k] for part in grads.state0)
        yield y[:, k], tuple(part[:, k] for part in final), Grads(params, grads.x[:, k], initial)


def _network(spec: ModelSpec, problem: Problem, r: Rounding) -> tuple[np.ndarray, State, Callable[[], Grads]]:
    """R runs forward, and their way back: x (T, R, B, I), a state (D*L, R, B, H), a weight (R, G*H, I), a bias
    (R, 1, G*H).
    """
    (T, B, _), D, suffixes = problem.x.shape, spec.num_directions, layer_suffixes(spec)
    params = {name: r.given(np.atleast_2d(value)) for name, value in problem.params.items()}
    state0 = tuple(r.given(part, 1) for part in problem.state0 or zero_state(spec, B))
    dstate = tuple(r.given(part, 1) for part in problem.dstate)
    lengths = np.full(B, T) if problem.lengths is None else problem.lengths
    valid = np.arange(T)[:, None] < lengths if problem.mask is None else problem.mask
    valid = valid[:, None, :, None]
    step = partial(STEPS[spec.layer.name], spec)
    levels = [range(row, row + D) for row in range(0, len(suffixes), D)]
    given = as_masks(problem.masks) or Masks()
    masks = [None] * len(levels) if given.layers is None else [*(r.given(mask, 1) for mask in given.layers), None]
    x_mask = None if given.input is None else r.given(given.input)
    h_masks = [None] * len(suffixes) if given.recurrent is None else [r.given(mask) for mask in given.recurrent]

    y, finals, pulls = np.where(valid, dropped(r, r.given(problem.x, 1), x_mask), 0), [], []
    for rows, mask in zip(levels, masks, strict=True):
        outputs = []
        for row in rows:
            times = range(T) if row == rows[0] else range(T)[::-1]
            weights, start = layer_weights(params, suffixes[row]), tuple(part[row] for part in state0)
            run = step if h_masks[row] is None else partial(step, h_mask=h_masks[row])
            h, final, pull = _sweep(run, weights, y, start, valid, times, r)
            outputs.append(h)
            finals.append(final)
            pulls.append(pull)
        y = np.concatenate(outputs, axis=-1)
        y = dropped(r, y, mask)

    def back() -> Grads:
        grads, initials, dy = {}, {}, r.given(problem.dy, 1)
        for rows, mask in reversed(list(zip(levels, masks, strict=True))):
            dy = np.where(valid, dropped(r, dy, mask), 0)
            dinputs = []
            for row, dh in zip(rows, np.split(dy, D, axis=-1), strict=True):
                dw, dx, initials[row] = pulls[row](dh, tuple(part[row] for part in dstate))
                grads |= named_weights(dw, suffixes[row])
                dinputs.append(dx)
            dy = r(np.sum(dinputs, axis=0))
        dy = dropped(r, dy, x_mask)
        initial = [initials[row] for row in range(len(suffixes))]
        return Grads(grads, dy, tuple(map(np.stack, zip(*initial, strict=True))))

    return y, tuple(map(np.stack, zip(*finals, strict=True))), back


def _sweep(
    step: Callable[..., Any], w: Weights, x: np.ndarray, state: State, valid: np.ndarray, times: range, r: Rounding
) -> tuple[np.ndarray, State, Callable[..., Any]]:
    """One direction of one layer; at a step that is not valid, a sequence keeps its state. Returns h (0 there), the
    final state, and the backward pass: the gradients of both -> those of the weights, of x and of the initial state.
    """
    h, pulls = [np.empty(0)] * len(x), []
    for t in times:
        after, pull = step(w, r, x[t], state)
        state = tuple(np.where(valid[t], new, old) for new, old in zip(after, state, strict=True))
        h[t] = np.where(valid[t], state[0], 0)
        pulls.append(pull)

    def back(dh: np.ndarray, dstate: State) -> tuple[Weights, np.ndarray, State]:
        dx, total = np.empty_like(x), Weights(*(a if a is None else np.zeros_like(a) for a in w))
        for t, pull in zip(times[::-1], pulls[::-1], strict=True):
            dafter = (dstate[0] + dh[t], *dstate[1:])
            dw, dx[t], dbefore = pull(*(np.where(valid[t], part, 0) for part in dafter))
            dstate = tuple(np.where(valid[t], new, old) for new, old in zip(dbefore, dafter, strict=True))
            total = Weights(*(a if a is None else r(a + b) for a, b in zip(total, dw, strict=True)))
        return total, dx, dstate

    return np.stack(h), state, back


def dropped(r: Rounding, u: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """u, or its gradient, with a mask of dropout if there is one."""
    return u if mask is None else r(u * mask)


def _elman(
    spec: ModelSpec, w: Weights, r: Rounding, x: np.ndarray, state: State, h_mask: np.ndarray | None = None
) -> tuple[State, Callable[..., Any]]:
    """One step, and its backward pass: dh -> the gradients of the weights, of x and of the state before."""
    h_in = dropped(r, state[0], h_mask)
    a, is_tanh = _preactivation(w, r, x, h_in), spec.nonlinearity == "tanh"
    h = r(np.tanh(a) if is_tanh else np.maximum(a, 0))

    def back(dh: np.ndarray) -> tuple[Weights, np.ndarray, State]:
        da = r(dh * (1 - h * h if is_tanh else h > 0))
        return _weights(w, r, da, x, h_in), r(da @ w.weight_ih), (dropped(r, r(da @ w.weight_hh), h_mask),)

    return (h,), back


def _lstm(
    _: ModelSpec, w: Weights, r: Rounding, x: np.ndarray, state: State, h_mask: np.ndarray | None = None
) -> tuple[State, Callable[..., Any]]:
    """One step, and its backward pass: dh and dc -> the gradients of the weights, of x and of the state before."""
    h_in, c_prev = dropped(r, state[0], h_mask), state[1]
    a_i, a_f, a_g, a_o = np.split(_preactivation(w, r, x, h_in), 4, axis=-1)
    i, f, o = (r.gate(_sigmoid(a)) for a in (a_i, a_f, a_o))
    g = r(np.tanh(a_g))
    c = r(f * c_prev + i * g)
    tanh_c = r(np.tanh(c))
    m = r(o * tanh_c)
    h = m if w.weight_hr is None else r(m @ w.weight_hr.mT)

    def back(dh: np.ndarray, dc: np.ndarray) -> tuple[Weights, np.ndarray, State]:
        dm = dh if w.weight_hr is None else r(dh @ w.weight_hr)
        dc = r(dc + dm * o * (1 - tanh_c * tanh_c))
        slopes = dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g * g), dm * tanh_c * o * (1 - o)
        da = r(np.concatenate(slopes, axis=-1))
        dw = _weights(w, r, da, x, h_in)
        dw = dw if w.weight_hr is None else dw._replace(weight_hr=r(dh.mT @ m))
        return dw, r(da @ w.weight_ih), (dropped(r, r(da @ w.weight_hh), h_mask), r(dc * f))

    return (h, c), back


def _lstm1997(
    _: ModelSpec, w: Weights, r: Rounding, x: np.ndarray, state: State, h_mask: np.ndarray | None = None
) -> tuple[State, Callable[..., Any]]:
    """One step, and its backward pass: dh and dc -> the gradients of the weights, of x and of the state before."""
    h_in, c_prev = dropped(r, state[0], h_mask), state[1]
    a_i, a_g, a_o = np.split(_preactivation(w, r, x, h_in), 3, axis=-1)
    i, o = (r.gate(_sigmoid(a)) for a in (a_i, a_o))
    g = r(np.tanh(a_g))
    c = r(c_prev + i * g)
    tanh_c = r(np.tanh(c))
    h = r(o * tanh_c)

    def back(dh: np.ndarray, dc: np.ndarray) -> tuple[Weights, np.ndarray, State]:
        dc = r(dc + dh * o * (1 - tanh_c * tanh_c))
        slopes = dc * g * i * (1 - i), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
        da = r(np.concatenate(slopes, axis=-1))
        return _weights(w, r, da, x, h_in), r(da @ w.weight_ih), (dropped(r, r(da @ w.weight_hh), h_mask), dc)

    return (h, c), back


def _gru(
    spec: ModelSpec, w: Weights, r: Rounding, x: np.ndarray, state: State, h_mask: np.ndarray | None = None
) -> tuple[State, Callable[..., Any]]:
    """One step, and its backward pass: dh -> the gradients of the weights, of x and of the state before."""
    (h_prev,), H, after = state, spec.hidden_size, spec.reset_after
    h_in = dropped(r, h_prev, h_mask)
    of_gates, of_candidate = w.weight_hh[..., : 2 * H, :], w.weight_hh[..., 2 * H :, :]
    a, a_h = r(x @ w.weight_ih.mT), r(h_in @ of_gates.mT)
    if w.bias_ih is not None:
        a, a_h = r(a + w.bias_ih), r(a_h + w.bias_hh[..., : 2 * H])
    a_gates, a_n = a[..., : 2 * H], a[..., 2 * H :]
    reset, z = np.split(r.gate(_sigmoid(r(a_gates + a_h))), 2, axis=-1)
    s = h_in if after else r(reset * h_in)
    q_n = r(s @ of_candidate.mT)
    q_n = q_n if w.bias_ih is None else r(q_n + w.bias_hh[..., 2 * H :])
    n = r(np.tanh(r(a_n + (reset * q_n if after else q_n))))
    h = r((1 - z) * n + z * h_prev)

    def back(dh: np.ndarray) -> tuple[Weights, np.ndarray, State]:
        da_z, da_n = r(dh * (h_prev - n) * z * (1 - z)), r(dh * (1 - z) * (1 - n * n))
        dq_n = r(da_n * reset) if after else da_n
        ds = r(dq_n @ of_candidate)
        da_r = r((da_n * q_n if after else ds * h_in) * reset * (1 - reset))
        da, da_h = np.concatenate([da_r, da_z, da_n], axis=-1), np.concatenate([da_r, da_z], axis=-1)
        dw = _weights(w, r, da, x, h_in)._replace(
            weight_hh=np.concatenate([r(da_h.mT @ h_in), r(dq_n.mT @ s)], axis=-2)
        )
        if w.bias_ih is not None:
            dw = dw._replace(bias_hh=r(np.concatenate([da_h, dq_n], axis=-1).sum(axis=-2, keepdims=True)))
        dh_in = r(da_h @ of_gates) + (ds if after else ds * reset)
        dh_prev = r(dh * z + dropped(r, dh_in, h_mask))
        return dw, r(da @ w.weight_ih), (dh_prev,)

    return (h,), back


# The step of each layer of the table of cells.
STEPS = {"RNN": _elman, "LSTM": _lstm, "LSTM1997": _lstm1997, "GRU": _gru}


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -a))


def _preactivation(w: Weights, r: Rounding, x: np.ndarray, h_prev: np.ndarray) -> np.ndarray:
    """The four summands in the order of a program that adds the biases to the input term, as most do."""
    a = r(x @ w.weight_ih.mT)
    a = a if w.bias_ih is None else r(a + r(w.bias_ih + w.bias_hh))
    return r(a + r(h_prev @ w.weight_hh.mT))


def _weights(w: Weights, r: Rounding, da: np.ndarray, x: np.ndarray, h_prev: np.ndarray) -> Weights:
    """The gradients of the weights at one step, except that of a projection."""
    db = None if w.bias_ih is None else r(da.sum(axis=-2, keepdims=True))
    return Weights(r(da.mT @ x), r(da.mT @ h_prev), db, db)
