# %% [markdown]
# # 11. Where the time goes
#
# **Question.** Where does the time go, what can be moved out of the loop, and when does hand-written NumPy beat
# `torch.nn.RNN` on a CPU, and when does it lose?
#
# **Answer.** At small sizes the time goes into starting operations, at large sizes into the matrix products, and
# every product that is not a link in the chain from step to step can be moved out of the loop over time and become
# one large product. `torch.nn.RNN` on a CPU is also a loop of operations, and it starts more of them for each step
# than the hand-written loop, especially in the backward pass, where it also computes the gradient of $W_{hh}$ step by
# step. NumPy can lose where a library runs all steps of a layer in one fused kernel, as PyTorch can for an LSTM,
# because NumPy starts each operation of a step separately, writes its result to memory and reads it again.
#
# **What you need.** You need matrix products and the following terms. A recurrent network reads a sequence step by
# step in a **loop**. Its **hidden state** $h$ is what it carries from step to step, and a **cell** is the computation
# of one step. The **forward pass** computes the states, the **backward pass** the **gradients**: $dz$ is the
# derivative of the loss, the number that training makes small, with respect to $z$. A **GEMM** (general matrix
# product) is what `@` does. A **FLOP** is one multiplication or one addition of two numbers: the product of an $m
# \times k$ and a $k \times n$ matrix takes $2mkn$ FLOPs. An **element-wise** operation, such as a sum or a tanh,
# treats each number separately. A **kernel** is the compiled routine that carries out an operation; it is **fused**
# if it carries out several operations in one go.
#
# There are $T$ steps, $B$ sequences side by side, $I$ inputs and $H$ hidden units; $G$ is 1 for the Elman network
# (Elman 1990) and 4 for the LSTM (long short-term memory; Hochreiter & Schmidhuber 1997), which has four gates.
# $W_{ih}$ are the weights of the input, $W_{hh}$ those of the state, and the pre-activation $a$ is the sum of both
# products and the biases. $\phi$ is the tanh that turns $a$ into the state of the Elman network.

# %% tags=["setup"]
import os
from functools import partial
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple
from unittest.mock import patch

import jax
import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils._python_dispatch import TorchDispatchMode

import jax_impl.elman
import jax_impl.lstm
import torch_impl.elman
import torch_impl.lstm
from common.equivalence.planting import planted
from common.model.layout import Weights
from common.study import bench
from jax_impl.native import precision
from numpy_impl import elman, lstm, lstm_cell, rnn_cell, unroll
from reports.teaching import show
from torch_impl.native import to_torch

T, B, I, H = 7, 2, 3, 5


class Inputs(NamedTuple):
    """The inputs of a pass; dy is the given gradient of every state h, dlast that of the final states, zero here."""

    w: Weights
    x: np.ndarray
    state: tuple[np.ndarray, ...]
    dy: np.ndarray
    dlast: tuple[np.ndarray, ...]


def draw(cell, T, B, I, H, dtype="float64") -> Any:
    rng, G = np.random.default_rng(11), 4 if cell == "LSTM" else 1

    def normal(*shape):
        return (rng.standard_normal(shape) / 3).astype(dtype)

    state = tuple(normal(B, H) for _ in range(2 if G == 4 else 1))
    w = Weights(normal(G * H, I), normal(G * H, H), normal(G * H), normal(G * H))
    return Inputs(w, normal(T, B, I), state, normal(T, B, H), tuple(0 * part for part in state))


def native(given) -> Any:
    """The same as PyTorch tensors."""
    return Weights(*to_torch(tuple(given.w))), *to_torch(tuple(given[1:]))


# %% [markdown]
# ## An array that counts
#
# NumPy passes every operation on a subclass of its array through the method `__array_ufunc__` of that subclass. So an
# array can keep a log of what is done with it: the operation, the sizes of a product, how many numbers are written,
# and the time in seconds. The code under test need not know about this.


# %%
class Operation(NamedTuple):
    name: str
    product: tuple[int, ...]  # (m, k, n), empty if element-wise
    flops: int  # of a product
    written: int
    seconds: float


log: list[Operation] = []


class Counted(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        plain = [a.view(np.ndarray) if isinstance(a, Counted) else a for a in (*inputs, *out)]
        if out:
            options["out"] = tuple(plain[len(inputs) :])
        start = perf_counter()
        result = getattr(ufunc, method)(*plain[: len(inputs)], **options)
        seconds = perf_counter() - start
        sizes = (*plain[0].shape, plain[1].shape[1]) if ufunc is np.matmul else ()
        flops = 2 * sizes[0] * sizes[1] * sizes[2] if sizes else 0
        log.append(Operation(ufunc.__name__, sizes, flops, result.size, seconds))
        return result.view(Counted)


# %% [markdown]
# We pass such arrays through the project's two ways of computing a sequence: `unroll`, a cell in a loop with
# everything inside the loop, and `elman` and `lstm`, which keep only the recurrence in the loop. What has been moved
# out of the loop is called **hoisted**. NumPy's `lstm` creates its own buffers, which would not count. So for
# counting we use a copy of the file in which buffers have the same array type as $x$; the results are the same to the
# last bit.


# %%
def as_counted(value: Any) -> Any:
    """Turns every array in tuples and lists into one that counts."""
    if isinstance(value, np.ndarray):
        return value.view(Counted)
    if isinstance(value, tuple | list):
        parts = map(as_counted, value)
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


with planted(("numpy_impl/lstm", "np.empty(shape, x.dtype)", "np.empty_like(x, shape=shape)")) as copy:
    lstm_counted = import_module(f"{copy}.lstm")
ways = {
    ("RNN", "in the loop"): tuple(
        partial(f, partial(g, nonlinearity="tanh"))
        for f, g in ((unroll.forward, rnn_cell.forward), (unroll.backward, rnn_cell.backward))
    ),
    ("RNN", "hoisted"): (partial(elman.forward, nonlinearity="tanh"), partial(elman.backward, nonlinearity="tanh")),
    ("LSTM", "in the loop"): (partial(unroll.forward, lstm_cell.forward), partial(unroll.backward, lstm_cell.backward)),
    ("LSTM", "hoisted"): (lstm_counted.forward, lstm_counted.backward),
}


def passes(way, given):
    """The outputs (h and the final state), the gradients, and the operations of the forward and the backward pass."""
    forward, backward = ways[way]
    w, x, state, dy, dlast = as_counted(given)
    log.clear()
    *outputs, tape = forward(w, x, state)
    forth = list(log)
    tape = as_counted(tape)
    log.clear()
    gradients = backward(w, tape, dy, dlast)
    return outputs, gradients, forth, list(log)


given = draw("LSTM", T, B, I, H)
(h_copied, last_copied), (h, last, _) = passes(("LSTM", "hoisted"), given)[0], lstm.forward(*given[:3])
assert all(np.array_equal(a, b) for a, b in zip((h_copied, *last_copied), (h, *last), strict=True))


# %% [markdown]
# ## Products, counted and by formula
#
# In the forward pass a step has the products $x_t W_{ih}^\top$ and $h_{t-1} W_{hh}^\top$. In the backward pass each
# of them leads to two: one for the gradient of its input and one for the gradient of its weight. So a backward pass
# costs as much as two forward passes, and a forward and a backward pass together cost $3 \cdot 2TB \cdot GH(I + H)$
# FLOPs. Moving products out of the loop changes their number, but not the FLOPs. In the equations a hat marks the
# array of all steps, one below the other in $TB$ rows.

# %%
show.lines("E1", "E3", "E9", "E11", "E12", "E14")
rows, numbers = [], {}
for way in ways:
    given = draw(way[0], T, B, I, H)
    states, _, forth, back = passes(way, given)
    products = [[o for o in part if o.product] for part in (forth, back)]
    case = bench.Case(cell=way[0], steps=T, batch=B, input_size=I, hidden_size=H, backward=True)
    assert sum(o.flops for part in products for o in part) == case.flops()
    numbers[way] = tuple(map(len, products))
    rows.append((*way, *numbers[way], f"{case.flops():,}"))
for cell in ("RNN", "LSTM"):
    assert numbers[cell, "in the loop"] == (2 * T, 4 * T)
    assert numbers[cell, "hoisted"] == (T + 1, T + 3)
    one, other = (passes((cell, kind), draw(cell, T, B, I, H)) for kind in ("in the loop", "hoisted"))
    for a, b in zip((*one[0], *one[1][0][:4]), (*other[0], *other[1][0][:4]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
columns = ("cell", "input and weights", "products forward", "backward", "FLOPs of both")
show.table(f"Matrix products over T = {T} steps", columns, rows, numbers=(2, 3, 4))
show.text(
    f"When hoisted, both passes together have {sum(numbers['RNN', 'hoisted'])} products instead of "
    f"{sum(numbers['RNN', 'in the loop'])}, with the same FLOPs and the same results. One product for each step stays "
    "in each loop: the one with $W_{hh}$, which needs the state of the previous step or the gradient of the next step."
)

# %% [markdown]
# ## Which share can be moved out
#
# In the forward pass the share of the FLOPs outside the loop is $I / (I + H)$. In the backward pass it is $(2I + H) /
# (2I + 2H)$, because the gradient of $W_{hh}$ can be moved out as well. We check this with the counter: a product
# outside the loop has the $TB$ rows of all steps.


# %%
def share_outside(part, rows):
    return sum(o.flops for o in part if rows in o.product) / sum(o.flops for o in part)


width = 32
inputs = np.array([1, 2, 4, 8, 16, 32, 64, 128])
counted = []
for size in inputs:
    _, _, forth, back = passes(("RNN", "hoisted"), draw("RNN", T=19, B=7, I=int(size), H=width))
    counted.append((share_outside(forth, 19 * 7), share_outside(back, 19 * 7)))
shares = np.array(counted)
np.testing.assert_allclose(shares[:, 0], inputs / (inputs + width), rtol=1e-12)
np.testing.assert_allclose(shares[:, 1], (2 * inputs + width) / (2 * inputs + 2 * width), rtol=1e-12)
show.plot(
    f"Share of the FLOPs outside the loop, H = {width}",
    np.log2(inputs),
    {"forward": shares[:, 0], "backward": shares[:, 1]},
    alt=f"Both curves rise with the number of inputs: forward from {shares[0, 0]:.2f} at I = 1 to {shares[-1, 0]:.2f} "
    f"at I = {inputs[-1]}, backward from {shares[0, 1]:.2f} to {shares[-1, 1]:.2f}.",
    x_label="log2 of the number of inputs I",
)

# %% [markdown]
# ## Four gates in one product and one tanh
#
# The weights of the four gates of an LSTM are stacked in one matrix, so a step has one product with four times as
# many columns. Three gates go through $\sigma(a) = 1 / (1 + e^{-a})$ and one through tanh. Because $\sigma(a) =
# (\tanh(a/2) + 1)/2$, one tanh over all four blocks is enough if the inputs of the three are halved beforehand. The
# lines (L1) to (L5) below do this.

# %%
a = np.random.default_rng(0).standard_normal(99) * 4
np.testing.assert_allclose((np.tanh(a / 2) + 1) / 2, 1 / (1 + np.exp(-a)), rtol=1e-12)
show.source("numpy_impl/lstm.py", "forward")
tanhs = {}
for kind in ("in the loop", "hoisted"):
    _, _, forth, _ = passes(("LSTM", kind), draw("LSTM", T, B, I, H))
    tanhs[kind] = sum(o.name == "tanh" for o in forth) // T
assert tanhs == {"in the loop": 5, "hoisted": 2}
show.text(
    f"Including the tanh of the cell state, each step calls tanh {tanhs['in the loop']} times in the cell, where every "
    f"gate has its own call, and {tanhs['hoisted']} times in `lstm.py`."
)

# %% [markdown]
# ## Operations started for each step
#
# Starting an operation takes time whatever its size: arguments are checked, an array is created, and the call passes
# through the layers of a library. We count how many more operations are started when a sequence is one step longer,
# and how many of them are products.
#
# - For NumPy we count the operations on the counting array.
# - For PyTorch we count everything that its **dispatcher** sees, which looks up the kernel of each operation. This
#   includes views, which only show an array in another shape.
# - JAX records a function as a list of equations, the **jaxpr**, in which a loop is one equation, a **scan**. We
#   count the equations in the body of the scan. The compiler turns them into fewer operations, because it fuses them.


# %%
class Dispatched(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        return func(*args, **(kwargs or {}))


def in_torch(run, leaves, dy):
    """Operations, and products among them, in a forward pass without gradients and in the backward pass."""
    with torch.no_grad(), Dispatched() as forth:
        run()
    y = run()
    with Dispatched() as back:
        torch.autograd.grad(y, leaves, dy)
    return np.array([forth.count, forth.products, back.count, back.products])


def counts(cell, T):
    """Framework -> operations forward and products among them, then the same backward."""
    given, operations = draw(cell, T, B, I, H, "float32"), {}
    parts = passes((cell, "hoisted"), given)[2:]
    operations["NumPy"] = np.array([n for part in parts for n in (len(part), sum(bool(o.product) for o in part))])
    module, options = (torch_impl.lstm, ()) if cell == "LSTM" else (torch_impl.elman, ("tanh",))
    w, x, state, dy, _ = native(given)
    leaves = [part.requires_grad_() for part in w[:4]]
    operations["PyTorch, ours"] = in_torch(lambda: module.forward(w, x, state, *options)[0], leaves, dy)
    layer = getattr(torch.nn, cell)(I, H)
    operations["torch.nn"] = in_torch(lambda: layer(x)[0], list(layer.parameters()), dy)
    return operations


def in_jax(cell):
    """The same numbers for the equations in the bodies of the forward scan and of the backward scan."""
    w, x, state, dy, _ = draw(cell, T, B, I, H)
    run = jax_impl.lstm.forward if cell == "LSTM" else partial(jax_impl.elman.forward, nonlinearity="tanh")

    def states(w):
        return run(w, x, state)[0]

    with precision():
        jaxprs = jax.make_jaxpr(states)(w), jax.make_jaxpr(lambda w: jax.vjp(states, w)[1](dy))(w)
    scans = [[e for e in jaxpr.eqns if e.primitive.name == "scan"][-1] for jaxpr in jaxprs]
    bodies = [[e.primitive.name for e in scan.params["jaxpr"].eqns] for scan in scans]
    return [n for body in bodies for n in (len(body), body.count("dot_general"))]  # a matrix product


rows, per_step = [], {}
for cell in ("RNN", "LSTM"):
    shorter, longer = counts(cell, T), counts(cell, T + 1)
    per_step |= {(cell, name): longer[name] - shorter[name] for name in longer}
    per_step[cell, "JAX, ours"] = np.array(in_jax(cell))
    rows += [(cell, name, *n) for (kind, name), n in per_step.items() if kind == cell]
for cell in ("RNN", "LSTM"):
    assert (per_step[cell, "NumPy"] <= per_step[cell, "PyTorch, ours"]).all()
columns = ("cell", "implementation", "forward", "products", "backward", "products")
show.table("Operations for one more step, and products among them", columns, rows, numbers=range(2, 6))
rnn, by_hand = per_step["RNN", "torch.nn"], per_step["RNN", "NumPy"]
more = rnn - by_hand
assert 0 < more[0] < more[2]  # more are started in both passes, especially backward
assert (*by_hand[[1, 3]], *rnn[[1, 3]]) == (1, 1, 1, 2)
fused = per_step["LSTM", "torch.nn"].sum() == 0
show.text(
    f"For one more step of the RNN, `torch.nn` starts {rnn[0] + rnn[2]} operations in both passes, and NumPy starts "
    f"{by_hand[0] + by_hand[2]}. In the backward pass, {rnn[3]} of those of `torch.nn` are products, and "
    f"{by_hand[3]} of those of NumPy: `torch.nn` computes the gradient of $W_{{hh}}$ inside the loop. "
    + (
        "`torch.nn.LSTM` starts none: here it runs all steps in one fused kernel."
        if fused
        else f"`torch.nn.LSTM` starts {per_step['LSTM', 'torch.nn'][[0, 2]].sum()}: here it is a loop as well."
    )
)

# %% [markdown]
# ## Measured: products and element-wise work in NumPy
#
# From here on the numbers are times measured on one machine in one run. They differ elsewhere, and nothing below
# relies on them. The counting arrays record the seconds spent inside each operation, so we can separate products from
# element-wise work, and see how many FLOPs the products did per second (GFLOP/s means billions of FLOPs per second).
# We use one thread and take the median of five runs.

# %%
rows, each = [], {}
for size in ("one", "medium"):
    for cell in ("RNN", "LSTM"):
        given = draw(cell, *bench.SIZES[size], "float32")
        with threadpool_limits(1):
            runs = [[*forth, *back] for *_, forth, back in (passes((cell, "hoisted"), given) for _ in range(5))]
        product = median(sum(o.seconds for o in run if o.product) for run in runs)
        other = median(sum(o.seconds for o in run if not o.product) for run in runs)
        rate = sum(o.flops for o in runs[0]) / product / 1e9
        each[cell, size] = 1e6 * (product + other) / len(runs[0])
        share = product / (product + other)
        rows.append((cell, size, f"{share:.0%}", f"{1 - share:.0%}", f"{each[cell, size]:.1f}", f"{rate:.1f}"))
columns = ("cell", "size", "products", "element-wise", "µs per operation", "GFLOP/s of the products")
show.table("Where NumPy's time went, forward and backward", columns, rows, numbers=(2, 3, 4, 5))
flops = {s: bench.cases(["RNN"], [s], ["float32"], 0)[0].flops() / bench.SIZES[s][0] for s in ("one", "medium")}
show.text(
    f"In sizes (T, B, I, H), one is {bench.SIZES['one']} and medium is {bench.SIZES['medium']}. A step of the RNN has "
    f"{flops['medium'] / flops['one']:.0f} times as many FLOPs at medium as at one; an operation took "
    f"{each['RNN', 'medium'] / each['RNN', 'one']:.1f} times as long."
)

# %% [markdown]
# In the last column the same library computes the products at all sizes. Where the rate is low, little of the time
# was spent on arithmetic: the rest went into starting the products and fetching their numbers.
#
# ## What a fused kernel saves
#
# The products of a step grow with $H^2$, the element-wise work with $H$, but with a large factor for the LSTM. Each
# NumPy operation writes its result to memory, and the next one reads it. A fused kernel reads the pre-activations of
# the gates once, keeps intermediate results in registers, and writes the new states once. Here we count the numbers
# written at each step for each hidden unit of a sequence:

# %%


def written(cell, H):
    """Numbers written forward and backward for one more step, for each hidden unit of a sequence."""
    pair = [passes((cell, "hoisted"), draw(cell, steps, B, I, H))[2:] for steps in (T, T + 1)]
    shorter, longer = ([sum(o.written for o in part if not o.product) for part in parts] for parts in pair)
    return np.subtract(longer, shorter) / (B * H)


numbers_written = {cell: written(cell, H) for cell in ("RNN", "LSTM")}
assert all((written(cell, 2 * H) == each).all() for cell, each in numbers_written.items())  # so it grows with H
assert (numbers_written["LSTM"] > 4 * numbers_written["RNN"]).all()
show.table(
    "Numbers written by element-wise operations, for each hidden unit",
    ("cell", "forward", "backward"),
    [(cell, *(f"{n:g}" for n in each)) for cell, each in numbers_written.items()],
    numbers=(1, 2),
)

# %% [markdown]
# ## Measured: ratios to torch.nn
#
# The project's own benchmark runs each implementation in its own process. In each round every implementation is timed
# once, in random order. Ratios are taken within a round. The reference runs twice, and the ratio of its two times
# (A/A) shows the noise. Here there are three rounds, and each process uses one thread. A ratio below one means
# faster.

# %%
rounds, sizes = 3, ("one", "medium")
cases = bench.cases(("RNN", "LSTM"), sizes, ("float32",), seed=0)
chosen = [case for case in cases if case.backward or (case.cell, case.batch) == ("LSTM", bench.SIZES["medium"][1])]
one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
with patch.dict(os.environ, one_thread):
    records = list(bench.bench(("torch.nn", "numpy", "jax"), chosen, rounds))
assert len(records) == 4 * len(chosen)  # the last arm of each case is the reference again
outcome, rows = {"faster": [], "slower": [], "indistinguishable from the noise": []}, []
for arms in (records[n : n + 4] for n in range(0, len(records), 4)):
    reference, *others, again = arms
    size = next(name for name, sizes in bench.SIZES.items() if sizes[3] == reference["hidden_size"])
    label = f"{reference['cell']}, {size}, {'both passes' if reference['backward'] else 'forward'}"
    noise = bench.ratio(again["seconds"], reference["seconds"])
    spans = {record["arm"]: bench.ratio(record["seconds"], reference["seconds"]) for record in others}
    ours = spans["numpy"]
    verdict = "faster" if ours.high < min(1, noise.low) else "slower" if ours.low > max(1, noise.high) else ""
    outcome[verdict or "indistinguishable from the noise"].append(label)
    texts = (f"{span.median:.2f} [{span.low:.2f}, {span.high:.2f}]" for span in (ours, spans["jax"], noise))
    rows.append((label, *texts, f"{reference['flops'] / bench.median(others[0]['seconds']) / 1e9:.1f}"))
columns = ("case", "NumPy / torch.nn", "JAX / torch.nn", "A/A", "NumPy, GFLOP/s")
show.table(f"Ratios of times, and their range over {rounds} rounds", columns, rows, numbers=(1, 2, 3, 4))
show.text(
    f"Of {len(rows)} cases in this run, NumPy was "
    + "; ".join(f"{word} in {len(labels)} ({'; '.join(labels) or 'none'})" for word, labels in outcome.items())
    + "."
)

# %% [markdown]
# Compare this table with the counts above. Where the rate in GFLOP/s is low, the time went into starting operations,
# and the implementation that starts fewer has the advantage: NumPy over the loop in `torch.nn.RNN`, JAX, whose
# compiled loop starts nothing from Python, and a fused kernel, which starts nothing more for one more step. At larger
# sizes all of them use similar kernels for the products. What can differ is the shape of the products (the gradient
# of $W_{hh}$ as one large product or as one at each step) and the element-wise work. In the latter a fused kernel
# gains; `torch.nn.LSTM` uses one if its count above is zero.
#
# ## How much there is to gain
#
# If a share $s$ of the time is made $k$ times as fast, the whole is $1 / (1 - s + s / k)$ times as fast (Amdahl
# 1967). Even an infinite $k$ gives no more than $1 / (1 - s)$. The products in the loop depend on one another, so a
# sequence remains T steps long, however much a machine can do in parallel.


# %%
def speed_up(s, k):
    return 1 / (1 - s + s / k)


rows = []
for size, sizes in bench.SIZES.items():
    _, _, forth, back = passes(("RNN", "hoisted"), draw("RNN", *sizes, "float32"))
    s, (steps, batch, i, h) = share_outside(forth + back, sizes[0] * sizes[1]), sizes
    assert np.isclose(s, (3 * i + h) / (3 * (i + h))) and speed_up(s, 4) < speed_up(s, 1e9) < 1 / (1 - s)
    rows.append((f"{size} {sizes}", f"{s:.2f}", f"{speed_up(s, 4):.2f}", f"{1 / (1 - s):.2f}"))
columns = ("size", "share of FLOPs outside the loop", "speed-up if that share is 4 times as fast", "limit")
show.table("What the hoisted products could gain if FLOPs were all that takes time", columns, rows, numbers=(1, 2, 3))

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# Write down the share of FLOPs outside the loop for both passes together, as a formula in $I$ and $H$. For which $I$
# is it three quarters if $H = 24$? Check the answer with the counter, for the RNN and the LSTM.


# %% tags=["solution"]
# Forward I of I + H; backward 2I + H of 2I + 2H. Together 3I + H of 3(I + H); the common factor G cancels.
def predicted(i, h):
    return (3 * i + h) / (3 * (i + h))


# (3I + H) / (3I + 3H) = 3/4 gives 12I + 4H = 9I + 9H, so 3I = 5H.
h = 24
i = 5 * h // 3
assert predicted(i, h) == 3 / 4
for cell in ("RNN", "LSTM"):
    for size in (i, 2, 7):
        _, _, forth, back = passes((cell, "hoisted"), draw(cell, T=13, B=17, I=size, H=h))
        assert np.isclose(share_outside(forth + back, 13 * 17), predicted(size, h))
show.text(f"I = {i} gives three quarters; with I = 2 the share is {predicted(2, h):.3f}.")

# %% [markdown]
# ### Exercise 2
#
# Autodiff, which derives the backward pass in JAX and PyTorch, computes the gradient of $W_{hh}$ where the forward
# pass used $W_{hh}$: in the loop. How many products does a backward pass of the LSTM over 7 steps have if the
# gradients of all weights are computed in the loop, if none of them is, and if only that of $W_{hh}$ is? Count them
# in `unroll`, in NumPy's `lstm`, and in JAX's `lstm` (in a jaxpr a matrix product is `dot_general`).

# %% tags=["solution"]
w, x, state, dy, _ = given = draw("LSTM", T, B, I, H)
inside, outside = (
    sum(bool(o.product) for o in passes(("LSTM", kind), given)[3]) for kind in ("in the loop", "hoisted")
)


def pulled_back(w, x):
    return jax.vjp(lambda w, x: jax_impl.lstm.forward(w, x, state)[0], w, x)[1](dy)


with precision():
    equations = jax.make_jaxpr(pulled_back)(w, x).eqns
names = [equation.primitive.name for equation in equations]
(scan,) = (e for e in equations if e.primitive.name == "scan" and e.params["reverse"])
in_body = sum(e.primitive.name == "dot_general" for e in scan.params["jaxpr"].eqns)
of_jax = scan.params["length"] * in_body + names[names.index("scan") :].count("dot_general")

# dx_t, dh_prev, dW_ih, dW_hh at each step; only dh_prev, then three large ones; dh_prev and dW_hh, then two.
assert (inside, outside, of_jax) == (4 * T, T + 3, 2 * T + 2)
show.table(
    "Products of a backward pass of the LSTM", ("unroll", "NumPy", "JAX"), [(inside, outside, of_jax)], numbers=range(3)
)
