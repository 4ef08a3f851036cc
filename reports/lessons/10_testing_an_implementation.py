# %% [markdown]
# # 10. How to test an implementation
#
# **Question.** Which checks find a wrong gradient, and which pass even though it is wrong?
#
# **Answer.** A check finds a mistake only if its inputs make the mistake visible: zeros, ones, equal numbers and
# sizes of one hide whole classes of mistakes. Random inputs everywhere, once with equal and once with unequal
# lengths, a trustworthy judge and a narrow tolerance find all the mistakes planted below, while five common checks
# each miss some. Whether a test can fail at all must itself be tested, by planting mistakes on purpose.
#
# A recurrent network reads a **sequence**, one input $x_t$ at each of $T$ steps, and $B$ sequences at once (the
# **batch**). From step to step it keeps a **hidden state** $h_t$, a row of $H$ numbers for each sequence; an LSTM
# (Hochreiter & Schmidhuber 1997) also keeps a **cell state** $c_t$, controlled by **gates**: $i$ for what is written,
# $f$ for what is kept, $o$ for what is let out. The hidden states at all steps are the **outputs** $y$. The **loss**
# is a single number computed from them. The **gradient** $dz$ of an array $z$ is the derivative of the loss with
# respect to every element of $z$. The backward pass, back-propagation through time (**BPTT**, Werbos 1990), receives
# two gradients from outside, called **cotangents**: $dy$ of the outputs and $dh_T$ of the final state. It returns the
# gradients of the weights, the inputs and the initial state. Inside it, `dh_next` carries the gradient from each step
# to the previous one. In the code, `vjp` is the backward pass of a **backend**, one of the implementations.

# %% tags=["setup"]
import importlib

import numpy as np

from common.backend import registry
from common.backend.contract import Problem
from common.equivalence.complex_step import complex_step
from common.equivalence.planting import planted
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from reports.teaching import show

numpy_own, torch_nn = registry.load("numpy"), registry.load("torch.nn")
T, B, I, H = 5, 3, 2, 4  # steps, sequences, inputs, hidden units: all different, all larger than 1
SPECS = {cell: ModelSpec(cell=cell, input_size=I, hidden_size=H) for cell in ("RNN", "LSTM", "RNNCell")}


def draw(spec, steps=T, batch=B, lengths=None):
    """Random weights, input, initial state and cotangents, of one dtype."""
    rng = np.random.default_rng(10)
    shapes = [(steps, batch, I), (steps, batch, H), *spec.state_shapes(batch) * 2]
    x, dy, *states = (rng.uniform(-1, 1, shape).astype(spec.dtype) for shape in shapes)
    half = len(states) // 2
    return Problem(initial_parameters(spec, 1), x, tuple(states[:half]), dy, tuple(states[half:]), lengths)


def results(backend, spec, problem, forward_only=False):
    """Outputs and final states, and every gradient."""
    params, x, state0, dy, dstate, lengths, *_ = problem
    y, final = backend.forward(spec, params, x, state0, lengths=lengths)
    if forward_only:
        return [y, *final]
    return [y, *final, *flat(backend.vjp(spec, params, x, state0, dy, dstate, lengths=lengths))]


def flat(grads):
    """The gradients of every weight, of x and of the initial state."""
    return [*(grads.params[name] for name in sorted(grads.params)), grads.x, *grads.state0]


# %% [markdown]
# ## Three judges
#
# A **judge** gives the right answer, at least approximately, without sharing the mistake. The first judge, **finite
# differences**, needs nothing but the forward pass. Change one weight by a small step $s$ and see how the loss
# changes. The **central** difference uses a step to each side: $(\mathcal{L}(w + s) - \mathcal{L}(w - s)) / 2s$.
#
# The second judge is the **complex step** (Squire & Trapp 1998). Give the weight the imaginary part $s$. Then the
# imaginary part of the loss, divided by $s$, is the derivative, except for an error of order $s^2$. No two nearly
# equal numbers are subtracted, so $s$ can be tiny. Here both judge the gradient of $W_{hh}$, the weights from state
# to state, for many step sizes $s$. The cotangents define a random loss: each output is multiplied by its $dy$, the
# products are added up, and the final state is treated in the same way.

# %%
spec = SPECS["RNN"]
problem = draw(spec)
by_hand = numpy_own.vjp(spec, problem.params, problem.x, problem.state0, problem.dy, problem.dstate)


def loss(spec, move):
    """The loss with W_hh moved by ``move``."""
    x, *state0 = (part.astype(spec.dtype) for part in (problem.x, *(problem.state0 or ())))
    params = {name: value.astype(spec.dtype) for name, value in problem.params.items()}
    params["weight_hh_l0"] = params["weight_hh_l0"] + move
    y, (h,) = numpy_own.forward(spec, params, x, tuple(state0))
    return (problem.dy * y).sum() + (problem.dstate[0] * h).sum()


def judged(spec, derivative):
    """The error of a judge's derivative for W_hh, relative to the largest value."""
    values = np.array([derivative(unit.reshape(H, H).astype(spec.dtype)) for unit in np.eye(H * H)])
    right = by_hand.params["weight_hh_l0"].ravel()
    return float(np.abs(values - right).max() / np.abs(right).max())


def central(spec, s):
    return judged(spec, lambda unit: (loss(spec, s * unit) - loss(spec, -s * unit)) / (2 * s))


# %%
imaginary = spec.with_dtype("complex128")
powers = np.arange(1, 15)
steps = 10.0**-powers
errors = {
    "central difference": np.array([central(spec, s) for s in steps]),
    "complex step": np.array(
        [judged(imaginary, lambda unit, s=s: loss(imaginary, 1j * s * unit).imag / s) for s in steps]
    ),
}
valley = int(np.argmin(errors["central difference"]))
assert 0 < valley < len(steps) - 1  # a valley: larger on both sides
bottom, last = errors["central difference"][valley], errors["complex step"][-1]
assert errors["central difference"][0] > 100 * bottom < errors["central difference"][-1]
assert last < 1e-14 < bottom and errors["complex step"][8:].max() < 1e-14
show.plot(
    "The error of each judge, by step size", powers, errors,
    alt=f"The central difference falls to {bottom:.0e} at a step of {steps[valley]:.0e} and rises again; the complex "
    f"step falls to {last:.0e} and stays there.",
    x_label="k, for a step of one over ten to the power k", y_label="relative error", log=True,
)  # fmt: skip

# %% [markdown]
# There are two reasons for the V shape. On the left the step is too large: the loss is not a straight line
# (**truncation** error, which falls with $s^2$). On the right the two losses are so close that their difference has
# few correct digits left (**rounding** error, which grows with $1/s$). The complex step has no such right-hand side.
# `common/equivalence/complex_step.py` uses it for all gradients:

# %%
exact = complex_step(numpy_own, spec, problem)
pairs = list(zip(flat(exact), flat(by_hand), strict=True))
worst = max(np.abs(a - b).max() / np.abs(a).max() for a, b in pairs)
assert worst < 1e-13
show.text(f"All {len(pairs)} hand-written gradients agree with the complex step to {worst:.0e}.")

# %% [markdown]
# Both of these judges assume that the forward pass is right. If it is wrong, and the backward pass is the derivative
# of the wrong function, they find nothing. The third judge is **another implementation**, here `torch.nn`. To see the
# difference, we plant a consistent mistake: the initial state is ignored in both the forward and the backward pass.
# `planted` makes a copy of the project's NumPy code with some text replaced, and returns the name under which the
# copy can be imported.


# %%
def error(values, right):
    """The largest difference of any array, relative to the largest value of that array in ``right``."""
    sizes = [max(np.abs(b).max(), np.finfo(float).tiny) for b in right]
    return max(float(np.abs(a - b).max() / size) for a, b, size in zip(values, right, sizes, strict=True))


ELMAN, ZERO_STATE = "numpy_impl/elman", ("(h_prev[0],) = state0", "h_prev[0] = 0")
with planted((ELMAN, *ZERO_STATE), (ELMAN, "dx, (dh_next,)", "dx, (0 * dh_next,)")) as name:
    mutant = importlib.import_module(f"{name}.backend").BACKEND
    by_itself = error(results(mutant, spec, problem)[2:], flat(complex_step(mutant, spec, problem)))
    other = error(results(mutant, spec, problem), results(torch_nn, spec, problem))
assert by_itself < 1e-11 < 0.01 < other
show.text(
    f"The error of the copy is {by_itself:.0e} according to the complex step, and {other:.2f} according to `torch.nn`."
)

# %% [markdown]
# ## Fourteen mistakes, seven checks
#
# Now for the checks. Each of the following mistakes is one that people really make, and each is planted alone in a
# copy. "dh_next dropped", for example, removes the second term from the line below. The code beside each name says
# what is replaced by what. ("= for += over time" needs `RNNCell`, a cell in a loop: the code for whole sequences
# computes one product over all steps and so has no sum to accumulate.)

# %%
show.lines("E7")

# %%
LSTM, STACK, UNROLL = "numpy_impl/lstm", "numpy_impl/stack", "numpy_impl/unroll"
BUGS = {
    "one bias forgotten": ("RNN", ELMAN, "a_x += w.bias_ih + w.bias_hh", "a_x += w.bias_ih"),
    "initial state ignored": ("RNN", ELMAN, *ZERO_STATE),
    "gates i and f swapped": ("LSTM", LSTM, "i, f, g, o = split(gates)\n    for", "f, i, g, o = split(gates)\n    for"),
    "dh_next dropped": ("RNN", ELMAN, "dy[t] + dh_next", "dy[t]"),
    "dc_next dropped": ("LSTM", LSTM, "dc_next + dm * o[t]", "dm * o[t]"),
    "dh of the final state ignored": ("RNN", ELMAN, "(dh_next,) = dlast", "dh_next = 0 * dlast[0]"),
    "W_hh transposed, backward": ("RNN", ELMAN, "da[t] @ w.weight_hh", "da[t] @ w.weight_hh.T"),
    "dy reversed in time": ("RNN", ELMAN, "dh = dy[t]", "dh = dy[T - 1 - t]"),
    "batch of dy reversed": ("RNN", ELMAN, "dh = dy[t]", "dh = dy[t][::-1]"),
    "= for += over time": ("RNNCell", UNROLL, "total = add(total, dw)", "total = dw"),
    "h for h_prev in dW_hh": ("RNN", ELMAN, "da.T @ h_in.reshape", "da.T @ h.reshape"),
    "dW_hh a thousandth too large": ("LSTM", LSTM, "dweight_hh = da.T", "dweight_hh = 1.001 * da.T"),
    "gradient from the padding": ("RNN", STACK, "trim(valid, dh)", "dh.copy()"),
    "h_prev lost, no lengths": ("RNN", ELMAN, "h_prev[t] if valid is None", "0 * h_prev[t] if valid is None"),
}

# %% [markdown]
# A **ragged** batch has sequences of different lengths, filled up with **padding** that must have no influence. The
# checks compare a copy with `torch.nn`. They differ only in their inputs (and the first one does not compare
# gradients):


# %%
def inputs(check, spec):
    """The problem that a check uses."""
    match check:
        case "T = 1":
            return draw(spec, steps=1)
        case "B = 1":
            return draw(spec, batch=1)
        case "ragged":
            return draw(spec, lengths=np.array([2, T, 1]))
    problem = draw(spec)
    if check == "equal weights":
        return problem._replace(params={name: np.full_like(w, 0.3) for name, w in problem.params.items()})
    if check == "sum, zero state":  # loss = the sum of all outputs
        zeros = tuple(0 * part for part in problem.state0 or ())
        return problem._replace(dy=np.ones_like(problem.dy), state0=zeros, dstate=zeros)
    return problem


def miss(check, spec, backend):
    """The error that a check sees in a backend."""
    problem = inputs(check, spec)
    alone = check == "forward only"
    return error(results(backend, spec, problem, alone), results(torch_nn, spec, problem, alone))


# %%
assert len(BUGS) == 14
CHECKS = ("forward only", "sum, zero state", "T = 1", "B = 1", "equal weights", "random", "ragged")
TOLERANCE = 1e-11
seen = {}
for bug, (cell, file, old, new) in BUGS.items():
    with planted((file, old, new)) as name:
        mutant = importlib.import_module(f"{name}.backend").BACKEND
        seen[bug] = {check: miss(check, SPECS[cell], mutant) for check in CHECKS}
rows = [(bug, *("found" if size > TOLERANCE else "missed" for size in errors.values())) for bug, errors in seen.items()]
show.table("Which check finds which mistake", ("mistake", *CHECKS), rows, numbers=range(1, len(CHECKS) + 1))

# %%
missed = {check: {bug for bug in BUGS if seen[bug][check] <= TOLERANCE} for check in CHECKS}
FINAL, PADDING, DENSE = "dh of the final state ignored", "gradient from the padding", "h_prev lost, no lengths"
assert missed["random"] == {PADDING}
assert missed["ragged"] == {DENSE}
forward = {"one bias forgotten", "initial state ignored", "gates i and f swapped", DENSE}
assert missed["forward only"] == {*BUGS} - forward
assert missed["sum, zero state"] == {
    "initial state ignored", FINAL, "dy reversed in time", "batch of dy reversed", PADDING
}  # fmt: skip
assert missed["T = 1"] == {"dy reversed in time", "= for += over time", PADDING}
assert missed["B = 1"] == {"batch of dy reversed", PADDING}
assert missed["equal weights"] == {"gates i and f swapped", "W_hh transposed, backward", PADDING}
counts = "; ".join(f"{check}: {len(bugs)}" for check, bugs in missed.items())
show.text(f'Missed of {len(BUGS)} mistakes: {counts}. Together, "random" and "ragged" miss none.')

# %% [markdown]
# Each miss has a reason, from which a rule follows.
#
# - Outputs alone say nothing about gradients: **compare gradients**.
# - A loss that is the sum of the outputs has a $dy$ of ones. Then steps and sequences can be exchanged unnoticed, and
#   $dh_T$ is zero: use **random cotangents**, also for the final state. If the initial state is zero, nobody notices
#   that it is ignored: use **random states**.
# - With a single step there is no order and nothing to add up; a single sequence cannot be confused with another: use
#   **sizes above 1**. Make them **distinct**, or a matrix can be transposed without an error.
# - A matrix of equal weights equals its transpose, and all gates are the same: use **random weights**.
# - Padding exists only in ragged batches, and a batch without lengths runs through lines that a ragged batch never
#   reaches. **No single input tests everything**: every path through the code needs its own input.
#
# ## A test that cannot fail
#
# A test that always passes looks like a test that passes because everything is right. There are two ways to write
# one: compare a backend with itself, or make the tolerance so wide that a mistake fits into it. Planted mistakes
# expose both: count how many are found.

# %%
caught = {}
for tolerance in (0.1, 1e-2, 1e-4, TOLERANCE):
    caught[tolerance] = sum(max(seen[bug]["random"], seen[bug]["ragged"]) > tolerance for bug in BUGS)
with planted((ELMAN, "dy[t] + dh_next", "dy[t]")) as name:
    mutant = importlib.import_module(f"{name}.backend").BACKEND
    with_itself = error(results(mutant, spec, problem), results(mutant, spec, problem))
with planted((ELMAN, "dy[t] + dh_next", "dy[t] + dh_next")) as name:  # the control: an unchanged copy
    control = miss("random", spec, importlib.import_module(f"{name}.backend").BACKEND)
assert with_itself == 0
assert control < TOLERANCE
assert caught[TOLERANCE] == caught[1e-4] == len(BUGS) == caught[1e-2] + 1
show.table(
    f"Found of {len(BUGS)} mistakes, by tolerance", ("tolerance", "found"),
    [(f"{tolerance:.0e}", number) for tolerance, number in caught.items()], numbers=(0, 1),
    note=f"An unchanged copy has the error {control:.0e}; a wrong copy compared with itself has {with_itself:.0f}.",
)  # fmt: skip

# %% [markdown]
# The unchanged copy is the **control**. Without it, a check that fails for every copy would seem perfect.
#
# ## The tolerance
#
# Two correct implementations differ by **rounding**: sums taken in a different order round differently. So the
# tolerance cannot be zero. It must be relative, because gradients come in all sizes. But relative to what? An element
# close to zero is often the difference of larger numbers and has few correct digits. So measure errors relative to
# the **largest value** of the same array:

# %%
mine, theirs = (results(backend, SPECS["LSTM"], draw(SPECS["LSTM"])) for backend in (numpy_own, torch_nn))
to_largest = error(mine, theirs)
to_element = max(float(np.abs((a - b) / b).max()) for a, b in zip(mine, theirs, strict=True))
assert to_element > 3 * to_largest > 0
show.text(
    f"Between two correct implementations the worst error is {to_largest:.0e} relative to the largest value of the "
    f"array, and {to_element:.0e} relative to the element itself."
)

# %% [markdown]
# Begin with **float64**, which has sixteen digits. In **float32**, which has seven, rounding is so large that the
# tolerance must be wide, and small mistakes fit into it. Here $dW_{hh}$ is too large by a millionth:

# %%
with planted((LSTM, "dweight_hh = da.T", "dweight_hh = (1 + 1e-6) * da.T")) as name:
    mutant = importlib.import_module(f"{name}.backend").BACKEND
    wrong = {dtype: miss("random", SPECS["LSTM"].with_dtype(dtype), mutant) for dtype in ("float64", "float32")}
right = {dtype: miss("random", SPECS["LSTM"].with_dtype(dtype), numpy_own) for dtype in wrong}
limits = {"float64": TOLERANCE, "float32": 1e-5}
assert right["float64"] < limits["float64"] < wrong["float64"]
assert right["float32"] < wrong["float32"] < limits["float32"]
rows = [
    (d, f"{limits[d]:.0e}", f"{right[d]:.0e}", f"{wrong[d]:.0e}", "found" if wrong[d] > limits[d] else "missed")
    for d in wrong
]
show.table(
    "A mistake of a millionth", ("dtype", "tolerance", "right code", "wrong code", "mistake"), rows, numbers=(1, 2, 3)
)

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# Plant a mistake of your own: let the LSTM omit the forget gate in the backward pass, with `dc_next = dc` instead of
# `dc_next = dc * f[t]`. First predict which of the seven checks will find it. Then run them.

# %% tags=["solution"]
# The outputs are right. Even with one step dc_next is used: it is the gradient of the initial cell state.
with planted((LSTM, "dc_next = dc * f[t]", "dc_next = dc")) as name:
    mutant = importlib.import_module(f"{name}.backend").BACKEND
    verdict = {check: miss(check, SPECS["LSTM"], mutant) > TOLERANCE for check in CHECKS}
assert {check for check, finds in verdict.items() if not finds} == {"forward only"}
show.text("The mistake is missed by: " + ", ".join(check for check, finds in verdict.items() if not finds) + ".")

# %% [markdown]
# ### Exercise 2
#
# Which step size is best for the central difference in float32? Predict it first: the truncation error is about
# $s^2$, the rounding error about $u/s$ with the unit of rounding $u$ (`np.finfo`). Where are the two equal? Then
# measure with `central`.

# %% tags=["solution"]
# s^2 = u/s at the cube root of u.
single = spec.with_dtype("float32")
predicted = {kind: float(np.cbrt(np.finfo(kind.dtype).eps)) for kind in (spec, single)}
sizes = 2.0 ** -np.arange(1, 24)
measured = {kind: [central(kind, s) for s in sizes.astype(kind.dtype)] for kind in predicted}
best = {kind: float(sizes[np.argmin(errors)]) for kind, errors in measured.items()}
assert best[single] / 30 < predicted[single] < 30 * best[single]
assert min(measured[spec]) < 1e-3 * min(measured[single])
show.text(
    f"In float32 the predicted step is {predicted[single]:.0e} and the best one {best[single]:.0e}, with an error of "
    f"{min(measured[single]):.0e}; in float64 the predicted step is {predicted[spec]:.0e} and the best error "
    f"{min(measured[spec]):.0e}."
)
