# %% [markdown]
# # 5. What autodiff does
#
# **Question.** What do autograd, `lax.scan` and `jax.vjp` really do, and which hand-written line do they replace?
#
# **Answer.** They record every operation of the forward pass together with what its derivative needs, and then go
# through that record from the end, with one use of the chain rule for each operation. PyTorch's nodes and JAX's
# transposed program replace all hand-written lines of the backward pass, (C4) to (C9) below, and compute the same
# numbers. They differ in what they save at each step, and in whether the gradient of a weight is summed inside the loop
# over time or after it.
#
# **What you need.** You need matrix products, the chain rule, and the following terms. A **cell** is one step of a
# recurrent network: it takes the input of the step and the **hidden state**, the numbers carried over from the previous
# step, and returns the new state. The **loss** is a single number that says how wrong the network is. The **gradient**
# of the loss with respect to an array has the shape of that array; $dz$ is short for $\partial \mathcal{L} / \partial
# z$. The backward pass starts from a given gradient of the outputs, which is called their **cotangent**. **Autodiff**
# (automatic differentiation) derives the backward pass from the forward pass. The record of the forward pass on which
# the backward pass relies is the **tape**.
#
# The sizes in this lesson are $T = 8$ steps, $B = 2$ sequences side by side, $I = 3$ inputs and $H = 4$ hidden units.
# Each row of an array is one sequence.

# %% tags=["setup"]
import re
from functools import partial
from math import isqrt, prod
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

import jax_impl.elman
import jax_impl.lstm
import jax_impl.rnn_cell
import torch_impl.elman
import torch_impl.lstm
import torch_impl.rnn_cell
from common.model.layout import Weights
from common.tracing.watch import watching
from jax_impl.native import precision  # inside this context JAX computes in 64 bits
from numpy_impl import elman, lstm, rnn_cell, unroll
from reports.teaching import show
from torch_impl.native import to_torch

T, B, I, H = 8, 2, 3, 4
rng = np.random.default_rng(5)


def weights(gates):
    return Weights(*(rng.standard_normal(s) / 2 for s in ((gates * H, I), (gates * H, H), (gates * H,), (gates * H,))))


def leaves(*arrays) -> Any:
    """Tensors for which PyTorch computes gradients; None stays None."""
    return [None if a is None else to_torch(a).requires_grad_() for a in arrays]


def size(array):
    return " × ".join(map(str, array.shape))


def short(jaxpr):
    """A jaxpr as text, without the details of its matrix products."""
    return re.sub(r"dot_general\[.*?\n +\]", "dot_general", str(jaxpr), flags=re.DOTALL)


def numpy_bytes(tape):
    """The bytes of all buffers, each counted once, because h_prev and h are two views of one buffer."""
    owners = [array if array.base is None else array.base for array in tape]
    return sum({id(owner): owner.nbytes for owner in owners}.values())


def jax_residuals(f, *arguments):
    """The arrays with a time axis that the pull-back would hold; nothing is computed."""
    held = jax.tree.leaves(jax.eval_shape(lambda *a: jax.vjp(f, *a)[1], *arguments))
    return [array for array in held if array.shape[0] == len(arguments[1])]


def torch_bytes(forward, w, x, *state):
    """The bytes of all buffers that nodes save, each counted once, without the weights."""
    w, (x_leaf, *state), saved = Weights(*leaves(*w)), leaves(x, *state), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        forward(w, x_leaf, tuple(state))
    buffers = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in saved}
    of_weights = {part.untyped_storage().data_ptr() for part in w if part is not None}
    return sum(nbytes for place, nbytes in buffers.items() if place not in of_weights)


def close(found, wanted, rtol=1e-12):
    """Whether two sets of gradients agree, relative to the largest entry of each."""
    pairs = [(np.asarray(a), b) for a, b in zip(found, wanted, strict=True) if b is not None]
    return max(abs(a - b).max() / abs(b).max() for a, b in pairs) < rtol


w, w_lstm = weights(1), weights(4)
x, h0, c0 = rng.standard_normal((T, B, I)), rng.standard_normal((B, H)), rng.standard_normal((B, H))
dy, dh = rng.standard_normal((T, B, H)), rng.standard_normal((B, H))

# %% [markdown]
# ## One step, line by line
#
# One step of the Elman network (Elman 1990) is $a = x W_{ih}^\top + h_{\text{prev}} W_{hh}^\top + b_{ih} + b_{hh}$ and
# $h = \tanh(a)$, equations (C1) to (C3). Below are the equations of the backward pass. NumPy has a line for each of
# them. JAX and PyTorch have none, so the page shows the forward line from which autodiff derives the result.

# %%
show.lines("C4", "C5", "C6", "C7", "C8", "C9")

# %% [markdown]
# We run the NumPy step on random numbers and keep what every tagged line assigns (`watching` is the project's tracer).
# Then we look for these numbers in the other two frameworks.

# %%
with watching(Path(rnn_cell.__file__)) as events:
    _, tape = rnn_cell.forward(w, x[0], (h0,), "tanh")
    rnn_cell.backward(w, tape, (dh,), "tanh")
by_line = {event.tag: next(iter(event.values.values())) for event in events}
BACKWARD = {"C4", "C5", "C6", "C7", "C8", "C9"}


def line_of(array):
    """The tag of the NumPy line that assigned the same numbers as in this array."""
    alike = ((tag, own) for tag, own in by_line.items() if own.shape == array.shape)
    return next((tag for tag, own in alike if np.allclose(own, array, 1e-12, 1e-14)), "")


assert by_line.keys() == BACKWARD | {"C1", "C2", "C3"}

# %% [markdown]
# ## PyTorch: a graph of nodes
#
# Every operation on a tensor that needs a gradient also creates a **node**. The node holds the saved values, a backward
# function, and pointers to the nodes that produced its inputs. The node of a result is its `grad_fn`, and the pointers
# of a node are its `next_functions`. Where a path ends, at a **leaf**, here a weight or an input, there is an
# `AccumulateGrad` node, which adds what arrives to the leaf's `.grad`. `loss.backward()` begins at the loss with the
# gradient 1 and runs each node once, after all nodes that lead to it. We walk through the graph and register a hook
# that records what each node passes on when it runs.

# %%
w_torch, (x_leaf, h_leaf) = Weights(*leaves(*w)), leaves(x[0], h0)
(h_torch,) = torch_impl.rnn_cell.step(w_torch, x_leaf, (h_leaf,), "tanh")
loss = (h_torch * to_torch(dh)).sum()
nodes, ran = [], []


def walk(node):
    if node is None or node in nodes:
        return
    nodes.append(node)
    node.register_hook(lambda passed_on, _: ran.append((node, [g for g in passed_on if g is not None])))
    for following, _ in node.next_functions:
        walk(following)


walk(loss.grad_fn)
loss.backward()

# %% [markdown]
# The table lists the nodes in the order in which `loss.backward()` ran them. The last column gives the NumPy line with
# the same numbers; every backward line is found.

# %%
inner = [(node, gradients) for node, gradients in ran if node.next_functions]
rows = []
for node, gradients in inner:
    to = [next_node.name().rpartition("::")[2] for next_node, _ in node.next_functions if next_node is not None]
    tags = [line_of(g.numpy()) for g in gradients]
    rows.append((node.name(), ", ".join(to), ", ".join(f"({tag})" for tag in tags if tag) or "–"))
matched = {line_of(g.numpy()) for _, gradients in inner for g in gradients}
assert matched >= BACKWARD
assert len(ran) == len(nodes) and len(nodes) - len(inner) == 6  # four weights and biases, x and h_prev
assert [name for name, _, tags in rows if tags == "–"] == ["SumBackward0", "MulBackward0"]
assert all("(C4)" in tags for name, _, tags in rows if name == "AddBackward0")
show.table("PyTorch's tape of one step, in the order of the backward pass", ("node", "leads to", "NumPy's line"), rows)
show.text(
    f"There are {len(nodes)} nodes, of which {len(nodes) - len(inner)} are leaves. The nodes of the loss have a dash. "
    "An addition passes $da$ on unchanged, so (C4) appears again at each `AddBackward0`."
)

# %% [markdown]
# ## JAX: a program that writes a program
#
# JAX runs a function once on placeholders and records its operations, one equation for each. This record is a
# **jaxpr**. Here is the jaxpr of the step (`f64[2,4]` is an array with two rows and four columns, and `dot_general` is
# a matrix product):

# %%
with precision():
    step = jax.make_jaxpr(lambda w, x, h: jax_impl.rnn_cell.step(w, x, (h,), "tanh"))(w, x[0], h0)
show.output("The step as a jaxpr", short(step.jaxpr))

# %% [markdown]
# `jax.vjp(f, ...)` returns the result of `f` and a function, the **pull-back**. The pull-back takes the cotangent of
# the result and returns the gradients of the arguments. It, too, is a list of equations. JAX derives it in two stages.
# First it writes the derivative at the given point as a linear program, from a change of the arguments to the change of
# the result. Then it **transposes** this program: it goes through it from the end and replaces each linear operation by
# its transpose, such as $W$ by $W^\top$, and each value with several uses by a sum. We run the resulting program one
# equation at a time, as an interpreter does, and look for NumPy's numbers again.


# %%
def pulled_back(w, x, h, dh):
    _, pull_back = jax.vjp(lambda w, x, h: jax_impl.rnn_cell.step(w, x, (h,), "tanh")[0], w, x, h)
    return pull_back(dh)


with precision():
    jaxpr = jax.make_jaxpr(pulled_back)(w, x[0], h0, dh).jaxpr
    values, rows = dict(zip(jaxpr.invars, [*w[:4], x[0], h0, dh], strict=True)), []
    for number, equation in enumerate(jaxpr.eqns, start=1):
        inputs = [v.val if hasattr(v, "val") else values[v] for v in equation.invars]  # a number, or a variable
        (variable,) = equation.outvars
        values[variable] = equation.primitive.bind(*inputs, **equation.params)
        if tag := line_of(np.array(values[variable])):
            rows.append((number, equation.primitive.name, size(values[variable]), f"({tag})"))
assert {tag.strip("()") for *_, tag in rows} >= BACKWARD | {"C1", "C3"}
forward_products, products = (sum(e.primitive.name == "dot_general" for e in j.eqns) for j in (step.jaxpr, jaxpr))
assert products == 3 * forward_products
show.table(
    "Equations of the step and its pull-back that have the numbers of a line of NumPy",
    ("equation", "operation", "shape", "NumPy's line"),
    rows,
    numbers=(0,),
    note=f"There are {len(jaxpr.eqns)} equations in total; the others transpose, reshape, or compute a part of a line.",
)

# %% [markdown]
# What does the backward pass cost? Each product of two factors leads to two products in the backward pass, one for the
# gradient of each factor: (C5) and (C8), (C6) and (C9). So the step has two products and its pull-back has four, which
# is about twice the work of the forward pass, in all three frameworks.
#
# ## The whole sequence: a scan backward
#
# `lax.scan` is JAX's loop over time: its body takes the **carry**, here the hidden state, and the input of one step.
# What is the gradient of a scan? We look for scans in the jaxpr of the pull-back of the whole sequence and find two:
# the forward one, and a second one with the same number of steps and with `reverse=True`. The second is the transpose
# of the first: its carry is the gradient of the state, and its body is the transposed body. (`add_any` adds gradients.)


# %%
def network(w, x, h0):
    return jax_impl.elman.forward(w, x, (h0,), "tanh")[0]


def scans(f, *arguments, cotangent):
    """The scans in the forward pass and the pull-back of f."""
    jaxpr = jax.make_jaxpr(lambda *a: jax.vjp(f, *a[:-1])[1](a[-1]))(*arguments, cotangent)
    return [equation for equation in jaxpr.eqns if equation.primitive.name == "scan"]


with precision():
    forth, back = scans(network, w, x, h0, cotangent=dy)
assert (forth.params["reverse"], back.params["reverse"]) == (False, True)
assert forth.params["length"] == back.params["length"] == len(x)
show.output("The body of the reversed scan", short(back.params["jaxpr"].jaxpr))
show.lines("E7", "E8", "E9", "U2")

# %% [markdown]
# Compare the body with the lines. The first sum is (E7): what the later step sends back plus the cotangent of this
# step's output. The two products and the sum after it are (E8), because $dh (1 - h) + dh (1 - h) h$ is $dh (1 - h^2)$.
# Then come two matrix products. One is (E9). The other is this step's part of $dW_{hh}$, which is added to a second
# carry with the shape of $W_{hh}$. That is (U2): JAX adds up the gradient of $W_{hh}$ inside the loop, as NumPy's loop
# over any cell does. NumPy's Elman network, which has the lines (E7) to (E9), computes one product after the loop
# instead. $W_{ih}$ was used before the forward loop, so its gradient is computed after the backward loop.

# %%
body = back.params["jaxpr"].jaxpr
products = [equation.outvars[0].aval.shape for equation in body.eqns if equation.primitive.name == "dot_general"]
carries = [v.aval.shape for v in back.outvars[: back.params["num_carry"]]]
h = np.tanh(rng.standard_normal((B, H)))
assert [equation.primitive.name for equation in body.eqns[:4]] == ["add_any", "mul", "mul", "add_any"]
assert sorted(products) == sorted([(B, H), (H, H)])
assert w.weight_hh.shape in carries and (B, H) in carries and w.weight_ih.shape not in carries
np.testing.assert_allclose(dh * (1 - h) + dh * (1 - h) * h, dh * rnn_cell.tanh_slope(h), atol=1e-15)
show.text(f"JAX's backward loop has {len(products)} matrix products in each step, and {len(carries)} carries.")

# %% [markdown]
# PyTorch sees no loop. Python runs the loop, and the tape has the nodes of all steps. $W_{hh}$ is a single leaf, to
# which a path leads from each step. In the backward pass PyTorch adds up what arrives along these paths, step after
# step: this is (U2) again.

# %%
rows = []
for steps in (2, 4, T):
    w_leaves = Weights(*leaves(*w))
    states, _ = torch_impl.elman.forward(w_leaves, to_torch(x[:steps]), (to_torch(h0),), "tanh")
    nodes.clear()
    walk(states.sum().grad_fn)
    ends = [getattr(following, "variable", None) for node in nodes for following, _ in node.next_functions]
    rows.append((steps, len(nodes), sum(end is w_leaves.weight_hh for end in ends)))
assert all(steps == paths for steps, _, paths in rows)
assert (rows[2][1] - rows[1][1]) * 2 == (rows[1][1] - rows[0][1]) * (T - 4)  # every step adds the same number of nodes
show.table("PyTorch's tape of a sequence", ("steps", "nodes", "paths to W_hh"), rows, numbers=range(3))

# %% [markdown]
# ## What is saved, and how much
#
# A backward step needs numbers from its forward step. NumPy's `Tape` names them: $x$, $h_{\text{prev}}$ and $h$, the
# last two in one buffer, shifted by one step. In JAX they are the **residuals**, arrays inside the pull-back, to which
# every step of the forward scan adds a slice. In PyTorch, `saved_tensors_hooks` reports which tensors the nodes save.
# We count the bytes in each framework, every buffer once, and without the weights. (The functions that count are in the
# folded code above.)


# %%
times, rows, residuals = (10, 20, 30, 40), [], []
torch_elman = partial(torch_impl.elman.forward, nonlinearity="tanh")
for steps in times:
    xs = rng.standard_normal((steps, B, I))
    with precision():
        residuals = jax_residuals(network, w, xs, h0)
    in_numpy, in_torch = numpy_bytes(elman.forward(w, xs, (h0,), "tanh")[2]), torch_bytes(torch_elman, w, xs, h0)
    rows.append((steps, in_numpy, in_torch, sum(prod(array.shape) * 8 for array in residuals)))
saved = np.array(rows)
assert (np.diff(saved, n=2, axis=0) == 0).all() and (np.diff(saved, axis=0) > 0).all()  # linear in T, and growing
assert (saved[:, 1] == 8 * (saved[:, 0] * B * I + (saved[:, 0] + 1) * B * H)).all()  # x, and h_0 to h_T
assert (saved[:, 1] == saved[:, 2]).all()
assert sorted(array.shape[1:] for array in residuals) == sorted([(B, I), *[(B, H)] * 3])
_, h_prev, h = elman.forward(w, x, (h0,), "tanh")[2]
with precision():
    inside = [np.array(array) for array in jax.tree.leaves(jax.vjp(network, w, x, h0)[1])]
for wanted in (x, h_prev, h, 1 - h):  # each of them is there
    assert any(array.shape == wanted.shape and np.allclose(array, wanted, atol=1e-14) for array in inside)
columns = ("steps T", "NumPy's tape", "PyTorch's saved tensors", "JAX's residuals")
show.table("Bytes saved for the backward pass", columns, rows, numbers=range(4))
show.text(
    f"Memory grows linearly: {times[1] - times[0]} more steps need {saved[1, 1] - saved[0, 1]} more bytes in NumPy and "
    f"PyTorch, {saved[1, 3] - saved[0, 3]} in JAX. JAX holds {', '.join(size(array) for array in residuals)}: besides "
    r"$x$ it stacks $h_{\text{prev}}$, $h$ and $1 - h$, where the others have one buffer. (What JAX's compiler makes "
    f"of this is not counted. These are PyTorch {torch.__version__} and JAX {jax.__version__}; other versions may save "
    "more or less.)"
)

# %% [markdown]
# ## The Jacobian is never built
#
# The **Jacobian** of a function has one number for every pair of an output and an input. A pull-back is a
# **vector-Jacobian product** (VJP): a row, the cotangent, times the Jacobian. It is computed without the matrix. In a
# tiny case we can afford to build the matrix and compare. `jax.jacrev` builds it row by row, with one pull-back for
# each output.


# %%
def of_weight(weight_hh):
    return network(w._replace(weight_hh=weight_hh), x, h0)


with precision():
    y, pull_back = jax.vjp(of_weight, w.weight_hh)
    (by_vjp,) = pull_back(jnp.array(dy))
    jacobian = np.array(jax.jit(jax.jacrev(of_weight))(w.weight_hh))
assert jacobian.shape == (T, B, H, H, H)
np.testing.assert_allclose(by_vjp, np.tensordot(dy, jacobian, axes=3), rtol=1e-12)
large = 100, 32, 128  # T, B, H
show.text(
    f"The Jacobian of all outputs with respect to $W_{{hh}}$ has {y.size} × {w.weight_hh.size} = {jacobian.size} "
    f"entries here; the pull-back gave {by_vjp.size} numbers at once. With T, B, H = {large} it would have "
    f"{prod(large) * large[-1] ** 2:,}."
)

# %% [markdown]
# ## Four ways to the same gradients
#
# `loss.backward()` stores the gradients in the `.grad` of the leaves, `torch.autograd.grad` returns them, `jax.grad`
# makes a function that returns them, and NumPy computes them by hand. We compare all four on the Elman network and on
# the LSTM (long short-term memory, a cell with gates and a second state $c$; Hochreiter & Schmidhuber 1997, Gers et al.
# 2000). The loss is $\sum dy \odot h$.

# %%
cases = {
    "RNN": (w, (h0,), elman, jax_impl.elman, torch_impl.elman, ("tanh",)),
    "LSTM": (w_lstm, (h0, c0), lstm, jax_impl.lstm, torch_impl.lstm, ()),
}


def four_ways(own, state, in_numpy, in_jax, in_torch, options):
    """The gradients of the weights by hand, and by the three others."""
    *_, tape = in_numpy.forward(own, x, state, *options)
    zeros = tuple(np.zeros_like(part) for part in state)
    by_hand = in_numpy.backward(own, tape, dy, zeros, *options)[0][:4]
    ways = {}
    with precision():
        by_jax = jax.grad(lambda w: (dy * in_jax.forward(w, x, state, *options)[0]).sum())
        ways["jax.grad"] = jax.jit(by_jax)(own)[:4]
    parts = leaves(*own[:4])
    h, _ = in_torch.forward(Weights(*parts), to_torch(x), to_torch(state), *options)
    loss = (to_torch(dy) * h).sum()
    ways["torch.autograd.grad"] = torch.autograd.grad(loss, parts, retain_graph=True)
    loss.backward()
    ways["loss.backward()"] = [part.grad for part in parts]
    return by_hand, ways


rows = []
for cell, case in cases.items():
    by_hand, ways = four_ways(*case)
    for way, grads in ways.items():
        assert close(grads, by_hand, rtol=1e-12)
        gap = max(abs(np.asarray(a) - b).max() for a, b in zip(grads, by_hand, strict=True))
        rows.append((cell, way, f"{gap:.1e}"))
show.table("Largest difference from the gradients by hand", ("cell", "way", "difference"), rows, numbers=(2,))

# %% [markdown]
# ## Recomputing instead of saving
#
# A tape need not be complete. We can keep only every k-th state, and in the backward pass run each segment of k steps
# forward once more to get its tape. This is known as checkpointing (Chen et al. 2016). The segments below use the
# project's own forward and backward passes. We count the states that are held at once and the forward steps that are
# executed.


# %%
def in_segments(w, x, dy, k):
    """The gradients of the weights, the most states held at once, and the forward steps executed."""
    starts, states, executed, most = range(0, len(x), k), [h0], 0, 0
    for start in starts:
        h, (last,), _ = elman.forward(w, x[start : start + k], (states[-1],), "tanh")
        states.append(last)
        executed += len(h)
    states.pop()  # no segment begins with the last state
    total, dh_next = None, np.zeros_like(h0)
    for start in reversed(starts):
        h, _, tape = elman.forward(w, x[start : start + k], (states[-1],), "tanh")
        most, executed = max(most, len(states) + len(h)), executed + len(h)
        dw, _, (dh_next,) = elman.backward(w, tape, dy[start : start + k], (dh_next,), "tanh")
        total = dw if total is None else unroll.add(total, dw)
        states.pop()
    return total, most, executed


steps = 36
xs, dys = rng.standard_normal((steps, B, I)), rng.standard_normal((steps, B, H))
everything = elman.backward(w, elman.forward(w, xs, (h0,), "tanh")[2], dys, (np.zeros_like(h0),), "tanh")[0]
ks, held = [k for k in range(1, steps + 1) if steps % k == 0], []
executed = 0
for k in ks:
    total, most, executed = in_segments(w, xs, dys, k)
    assert executed == 2 * steps and close(total, everything, rtol=1e-11)
    held.append(most)
best = ks[int(np.argmin(held))]
assert best == isqrt(steps) and min(held) == 2 * best < steps
show.plot(
    "States held at once, by segment length",
    ks,
    {"every k-th state kept": held, "every state kept": [steps + 1] * len(ks)},
    alt=f"The curve falls from {held[0]} states at k = 1 to {min(held)} at k = {best} and rises again to {held[-1]}; "
    f"keeping every state needs {steps + 1}.",
    x_label="k",
)
show.text(
    f"With {steps} steps, {min(held)} states are enough instead of {steps + 1}, if k = {best}, the square root of T. "
    f"The price is {executed} forward steps instead of {steps}. The gradients are the same."
)

# %% [markdown]
# JAX does the same if the body of the scan is wrapped in `jax.checkpoint` (PyTorch has `torch.utils.checkpoint`). Then
# a step saves only its arguments, $x$ and $h_{\text{prev}}$, and the backward body begins with the forward step. We
# count the calls of tanh in both bodies.


# %%
def cells(w, x, h0, wrap):
    return lax.scan(wrap(lambda h, x_t: 2 * jax_impl.rnn_cell.step(w, x_t, (h,), "tanh")), h0, x)[1]  # 2 * (h,)


rows = []
for name, wrap in {"all saved": lambda body: body, "jax.checkpoint": jax.checkpoint}.items():
    with precision():
        held_bytes = sum(prod(array.shape) * 8 for array in jax_residuals(partial(cells, wrap=wrap), w, x, h0))
        both = scans(partial(cells, wrap=wrap), w, x, h0, cotangent=dy)
    rows.append((name, held_bytes, T * sum(str(scan.params["jaxpr"]).count("= tanh") for scan in both)))
assert rows[1][1] < rows[0][1] and [executed for *_, executed in rows] == [T, 2 * T]
show.table("RNNCell in a scan", ("body", "bytes of residuals", "forward steps"), rows, numbers=(1, 2))

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# JAX saves $h$ and $1 - h$ for tanh, although $h$ is enough for (C4). Write a tanh with your own derivative that saves
# only $h$. (`jax.custom_vjp` wraps a function; the method `.defvjp` of the result takes two more functions. The first
# returns the result and what to save. The second takes what was saved and the cotangent, and returns a tuple of
# gradients, one for each argument.) Use it in a scan, check the gradients against NumPy's, and count the residuals.


# %% tags=["solution"]
@jax.custom_vjp
def own_tanh(a):
    return jnp.tanh(a)


# Forward: the result, and what to save. Backward: what was saved and the cotangent -> one gradient for each argument.
own_tanh.defvjp(lambda a: (jnp.tanh(a), jnp.tanh(a)), lambda h, dh: (dh * (1 - h * h),))


def own_network(w, x, h0):
    a_x = x @ w.weight_ih.T + (w.bias_ih + w.bias_hh)

    def body(h_prev, a_t):
        h = own_tanh(a_t + h_prev @ w.weight_hh.T)
        return h, h

    return lax.scan(body, h0, a_x)[1]


with precision():
    gradients = jax.jit(lambda w: jax.vjp(own_network, w, x, h0)[1](jnp.array(dy))[0])(w)
    before, after = (len(jax_residuals(f, w, x, h0)) for f in (network, own_network))
by_hand = elman.backward(w, elman.forward(w, x, (h0,), "tanh")[2], dy, (np.zeros_like(h0),), "tanh")[0]
assert close(gradients, by_hand)
assert after == before - 1
show.text(f"Arrays with a time axis: {before} with JAX's rule for tanh, {after} with ours.")

# %% [markdown]
# ### Exercise 2
#
# How much does an LSTM save for each step? Its code is in `numpy_impl/lstm.py`, and lesson 7 explains it. For NumPy,
# write down which arrays besides $x$ the function `backward` there reads, in multiples of $H$ numbers for each
# sequence. Then count in all three frameworks.

# %% tags=["solution"]
# The gates i, f, g, o; h_prev; c_prev; tanh_c. Without a projection, the tape's m is h, in the buffer of h_prev.
predicted = 4 + 1 + 1 + 1


def lstm_network(w, x, h0):
    return jax_impl.lstm.forward(w, x, (h0, jnp.array(c0)))[0]


def bytes_of(steps):
    xs = rng.standard_normal((steps, B, I))
    with precision():
        in_jax = sum(prod(array.shape) * 8 for array in jax_residuals(lstm_network, w_lstm, xs, h0))
    in_numpy = numpy_bytes(lstm.forward(w_lstm, xs, (h0, c0))[2])
    return np.array([in_numpy, torch_bytes(torch_impl.lstm.forward, w_lstm, xs, h0, c0), in_jax])


one_more_step = bytes_of(T + 1) - bytes_of(T)
in_states = (one_more_step - 8 * B * I) / (8 * B * H)  # without x, in arrays (B, H) of 8-byte numbers
assert in_states[0] == in_states[1] == predicted and in_states[2] >= predicted
columns = ("NumPy", "PyTorch", "JAX")
show.table("Arrays of B × H numbers that one step of an LSTM adds", columns, [[f"{n:g}" for n in in_states]])
