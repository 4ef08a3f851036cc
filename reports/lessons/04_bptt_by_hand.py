# %% [markdown]
# # 4. BPTT by hand
#
# **Question.** What is `dh_next`, why do gradients add up over time, and in which line do they vanish?
#
# **Answer.** A hidden state is used twice, by the loss of its own step and by the next step, and `dh_next` is
# the gradient that the second use sends back. The same weights are used at every step, so each step contributes
# a gradient, and the contributions add up. Gradients vanish or explode in two lines, the multiplication by the
# slope of tanh and the product with $W_{hh}$, because on its way from the last step back to the first the
# gradient passes through both lines at every step.
#
# The **loss** $\mathcal{L}$ is a single number that says how wrong a network is. A **gradient** says how fast
# the loss changes with each element of an array. For any array $z$ we write $dz$ for $\partial \mathcal{L} /
# \partial z$; it has the shape of $z$. **Back-propagation** computes gradients from the loss back to the
# inputs, with one use of the chain rule in each line. **Back-propagation through time** (BPTT; Werbos 1990) is
# the same procedure for a network that applies the same step again and again.

# %% tags=["setup"]
import numpy as np

import numpy_impl
from common.backend import registry
from common.model.layout import Weights, named_weights
from common.model.spec import ModelSpec
from reports.teaching import show

T, B, I, H = 4, 2, 3, 5  # steps, sequences, inputs, hidden units
rng = np.random.default_rng(4)
W_ih, W_hh = rng.uniform(-0.7, 0.7, (H, I)), rng.uniform(-0.7, 0.7, (H, H))
b = rng.uniform(-0.7, 0.7, H)
x, h_0 = rng.standard_normal((T, B, I)), rng.standard_normal((B, H))
target = rng.standard_normal((T, B, H))


def largest_error(a, b):
    """The largest difference, relative to the largest value."""
    return np.abs(np.asarray(a) - b).max() / np.abs(b).max()


# %% [markdown]
# ## The network and its loss
#
# An Elman network (Elman 1990) keeps a **hidden state** $h_t$: for each sequence a row of $H$ numbers. At every
# **time step** it computes the next state from the input $x_t$ and the previous state:
#
# $$ h_t = \tanh(a_t), \qquad a_t = x_t W_{ih}^\top + h_{t-1} W_{hh}^\top + b $$
#
# The argument $a_t$ is called the **pre-activation**. All steps use the same $W_{ih}$, $W_{hh}$ and $b$.
# (Libraries have two biases; only their sum matters here.) The batch has two sequences, one in each row.
#
# The loss of this lesson is half the squared distance of every state from a target, summed over everything. Its
# gradient with respect to the output of one step alone is therefore $dy_t = h_t - \text{target}_t$.


# %%
def forward(x, h_0, W_ih, W_hh, b):
    """All states, including h_0: hs[t] is the state after t steps."""
    hs = [h_0]
    for x_t in x:
        hs.append(np.tanh(x_t @ W_ih.T + hs[-1] @ W_hh.T + b))
    return hs


def loss(hs):
    return sum(0.5 * ((h - wanted) ** 2).sum() for h, wanted in zip(hs[1:], target, strict=True))


hs = forward(x, h_0, W_ih, W_hh, b)
show.text(f"After {T} steps forward the loss is {loss(hs):.6f}.")

# %% [markdown]
# ## One step back
#
# Suppose that we know $dh$, the whole gradient of the state after a step. Six lines of algebra carry it back
# through that step: through tanh, whose slope is $1 - h^2$, and then to everything from which the
# pre-activation was computed. These are the lines of `numpy_impl/rnn_cell.py`. JAX and PyTorch have no such
# lines, because their autodiff derives them from the forward lines.

# %%
show.lines("C4", "C5", "C6", "C7", "C8", "C9")

# %% [markdown]
# For tanh, $\psi(h)$, called `slope` in the code, is $1 - h \odot h$; $\odot$ is the element-wise product, and
# $\mathbf{1}^\top da$ is the sum of the rows.
#
# ## What `dh_next` is
#
# After step $t$ the state $h_t$ goes to two places: to the loss, which compares it with its target, and into
# step $t + 1$. If a value has several uses, its gradient is the sum of what each use sends back. The loss sends
# back $dy_t$. Step $t + 1$ sends back what (C9) computes there. In the code, this second part is kept in a
# variable called `dh_next` while the loop goes one step back in time. After the last step there is no later
# use, so `dh_next` starts at zero.


# %%
def backward(x, hs, dy, W_ih, W_hh):
    """The gradients of W_ih, W_hh, b and h_0, and a log of what happened at each step, the last step first."""
    dW_ih, dW_hh, db = np.zeros_like(W_ih), np.zeros_like(W_hh), np.zeros(len(W_hh))
    dh_next, log = np.zeros_like(hs[0]), []
    for t in reversed(range(len(x))):
        dh = dy[t] + dh_next
        da = dh * (1 - hs[t + 1] ** 2)
        dW_ih += da.T @ x[t]
        dW_hh += da.T @ hs[t]
        db += da.sum(axis=0)
        log.append({"dy": dy[t], "dh_next": dh_next, "dh": dh, "da": da, "part": da.T @ hs[t]})
        dh_next = da @ W_hh
    return {"W_ih": dW_ih, "W_hh": dW_hh, "b": db, "h_0": dh_next}, log


dy = np.stack(hs[1:]) - target
grads, log = backward(x, hs, dy, W_ih, W_hh)
size = np.linalg.norm
show.table(
    "The backward pass, one row for each step: Euclidean norms of the two parts of dh, and of what follows from them",
    ("step", "from the loss: dy", "from the next step: dh_next", "sum: dh", "through tanh: da"),
    [(T - n, *(f"{size(row[name]):.4f}" for name in ("dy", "dh_next", "dh", "da"))) for n, row in enumerate(log)],
    numbers=range(5),
)
assert size(log[0]["dh_next"]) == 0
assert all(size(row["dh_next"]) > 0 for row in log[1:])

# %% [markdown]
# Read the table from the top, in the order of the loop. At the last step only the loss sends something back; at
# all other steps both parts are present. (The norms do not add up as the arrays do, because the two parts may
# point in different directions.)
#
# In this project, (U1) adds the two parts in `numpy_impl/unroll.py`, which works with any cell, and (E7) does
# so in `numpy_impl/elman.py`, which is for the Elman cell only. $\phi'(a_t)$ is the slope of tanh. The second
# state, $c$, belongs to the LSTM; you can ignore it here.

# %%
show.lines("U1", "E7", "E8", "E9")

# %% [markdown]
# ## Finite differences as the judge
#
# How do we know that this is right? Change one number a little, run the forward pass again, and see how the
# loss changes. The **central difference** $(\mathcal{L}(w + \epsilon) - \mathcal{L}(w - \epsilon)) / 2\epsilon$
# needs no derivative, so it cannot contain the same mistake. It needs two forward passes for every single
# number, so it is used for checking, not for training.


# %%
def finite_differences(function, array, step=1e-5):
    """The derivative of function() with respect to every element of an array that it reads."""
    grad = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        grad[index] = (above - function()) / (2 * step)
        array[index] = value
    return grad


def total():
    return loss(forward(x, h_0, W_ih, W_hh, b))


judged = {
    name: finite_differences(total, array) for name, array in {"W_ih": W_ih, "W_hh": W_hh, "b": b, "h_0": h_0}.items()
}
errors = {name: largest_error(grads[name], judged[name]) for name in judged}
show.table(
    "BPTT by hand compared with finite differences",
    ("gradient of", "numbers", "largest difference, relative to the largest value"),
    [(name, judged[name].size, f"{error:.1e}") for name, error in errors.items()],
    numbers=(1, 2),
)
assert max(errors.values()) < 1e-8

# %% [markdown]
# ## Why gradients add up over time
#
# Imagine that every step had its own copy of $W_{hh}$. Then each copy would have its own gradient: (C6), the
# part `da.T @ h_prev` of its step. The real network has a single $W_{hh}$ in place of all these copies. It is
# one value with $T$ uses, and again the gradient is the sum over the uses. That is the `+=` in the loop. We can
# see it directly: if we perturb the copy of one step only, finite differences give the part of that step only.


# %%
def loss_with_copies(copies):
    h, total_loss = h_0, 0.0
    for x_t, wanted, copy in zip(x, target, copies, strict=True):
        h = np.tanh(x_t @ W_ih.T + h @ copy.T + b)
        total_loss += 0.5 * ((h - wanted) ** 2).sum()
    return total_loss


copies = [W_hh.copy() for _ in range(T)]
parts = [finite_differences(lambda: loss_with_copies(copies), copy) for copy in copies]
so_far = np.zeros_like(W_hh)
rows = []
for t in reversed(range(T)):
    assert largest_error(log[T - 1 - t]["part"], parts[t]) < 1e-8
    so_far += parts[t]
    rows.append((t + 1, f"{size(parts[t]):.4f}", f"{so_far[0, 0]:+.4f}", f"{size(so_far):.4f}"))
assert largest_error(grads["W_hh"], so_far) < 1e-8
assert largest_error(grads["W_hh"], parts[-1]) > 0.01  # one step alone is not the gradient
show.table(
    "The gradient of W_hh, accumulated on the way back",
    ("step", "size of this step's part", "element [0, 0] so far", "size so far"),
    rows,
    numbers=range(4),
)

# %% [markdown]
# Only the last row, which contains the parts of all steps, is the gradient. In `numpy_impl/unroll.py` the `+=`
# is (U2). `numpy_impl/elman.py` keeps all $da_t$ and adds them up in one matrix product after the loop, (E12).
# The sum is the same: the product of two arrays with $TB$ rows sums over steps and sequences at once. (A hat
# means that steps and sequences share one axis.)

# %%
show.lines("U2", "E12")

# %% [markdown]
# ## In which line they vanish
#
# Now let the loss depend on the last step only, and make the sequence longer. Then there is a single source of
# gradient, at the end, and the rest is transport from step to step, through `da = dh * slope` and `dh_next = da
# @ W_hh`. Each line multiplies. The slope is at most 1, and it is near 0 where a unit is **saturated**, that
# is, where its state is near $-1$ or $1$. The product with $W_{hh}$ can shrink or stretch the gradient.

# %%
long = 30
x_long = rng.standard_normal((long, B, I))
hs_long = forward(x_long, h_0, W_ih, W_hh, b)
dy_last = np.zeros((long, B, H))
dy_last[-1] = hs_long[-1] - target[-1]
_, transport = backward(x_long, hs_long, dy_last, W_ih, W_hh)
dh = np.array([size(row["dh"]) for row in transport])
da = np.array([size(row["da"]) for row in transport])
through_tanh, through_W = da / dh, dh[1:] / da[:-1]
assert (through_tanh < 1).all()
assert through_W.min() < 1 < through_W.max()
assert all(np.array_equal(row["dh"], row["dh_next"]) for row in transport[1:])  # the loss sends nothing here
show.plot(
    "The size of dh, from the last step back to the first",
    np.arange(long, 0, -1),
    {"dh": dh, "da": da},
    alt=f"Both fall, dh from {dh[0]:.2g} at step {long} to {dh[-1]:.1g} at step 1.",
    x_label="step",
    y_label="Euclidean norm",
    log=True,
)
show.text(
    f"Each step back multiplies the gradient by {np.exp(np.log(through_tanh).mean()):.2f} in the line of the slope and "
    f"by {np.exp(np.log(through_W).mean()):.2f} in the line of $W_{{hh}}$ (geometric means). After {long - 1} steps, "
    f"{dh[-1] / dh[0]:.1e} of it is left."
)
assert dh[-1] < 1e-3 * dh[0] and (np.diff(dh) < 0).all() and (np.diff(da) < 0).all()

# %% [markdown]
# With larger weights the second line stretches the gradient, which can then explode instead; lesson 6 is about
# that.
#
# ## A mistake, and which checks find it
#
# The classic mistake is to forget `dh_next`. The code runs, the loss even falls in training, and every array
# has the right shape. Finite differences reveal the mistake at once. But a check with a single step does not,
# because there `dh_next` is zero anyway.


# %%
def backward_without_dh_next(x, hs, dy):
    da = dy * (1 - np.stack(hs[1:]) ** 2)
    return np.einsum("tbh,tbk->hk", da, np.stack(hs[:-1]))


def check(steps):
    """The error of the wrong gradient of W_hh, for this number of steps."""
    wrong = backward_without_dh_next(x[:steps], hs[: steps + 1], dy[:steps])
    right, _ = backward(x[:steps], hs[: steps + 1], dy[:steps], W_ih, W_hh)
    return largest_error(wrong, right["W_hh"])


error_after = {steps: check(steps) for steps in (1, 2, T)}
W_wrong, losses = W_hh.copy(), []
for _ in range(5):  # training with the wrong gradient
    states = forward(x, h_0, W_ih, W_wrong, b)
    losses.append(loss(states))
    W_wrong -= 0.05 * backward_without_dh_next(x, states, np.stack(states[1:]) - target)
assert losses == sorted(losses, reverse=True)
show.table(
    "The gradient of W_hh without dh_next",
    ("steps", "error"),
    [(n, f"{e:.1e}") for n, e in error_after.items()],
    numbers=(0, 1),
)
assert error_after[1] < 1e-14
assert error_after[2] > 0.01
assert error_after[T] > 0.01

# %% [markdown]
# ## The same gradients from the library and from autodiff
#
# The project computes everything above: in NumPy by hand, and in JAX and PyTorch by autodiff. A **backend** is
# one of the implementations. Its `vjp` (vector-Jacobian product; lesson 5 explains the name) takes the
# gradients that come from outside, $dy$ of all outputs and that of the final state (zero here), and returns all
# others.

# %%
spec = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
params = named_weights(Weights(W_ih, W_hh, b, np.zeros(H)), "_l0")
rows = []
for name in ("numpy", "jax", "torch", "torch.nn"):
    theirs = registry.load(name).vjp(spec, params, x, (h_0[None],), dy, (np.zeros((1, B, H)),))
    pairs = [(theirs.params["weight_ih_l0"], grads["W_ih"]), (theirs.params["weight_hh_l0"], grads["W_hh"])]
    pairs += [(theirs.params["bias_ih_l0"], grads["b"]), (theirs.state0[0][0], grads["h_0"])]
    worst = max(largest_error(a, b) for a, b in pairs)
    assert worst < 1e-13
    rows.append((name, f"{worst:.1e}"))
show.table(
    "The four gradients of this lesson, computed by the backends", ("backend", "largest difference"), rows, numbers=(1,)
)

# %% [markdown]
# You can [step through a small network](stepper-rnn.html) line by line, forward and backward, and [plant this
# mistake](stepper-rnn.html#loss=last&bug=dh_next) in it, with a loss that depends on the last step only.
#
# ## Exercises
#
# ### Exercise 1
#
# Let the loss compare the *average* of all states with a single target (`target[0]`, of shape $(B, H)$): it is
# half the squared distance. What is $dy_t$ now? Compute the gradient of $W_{hh}$ with the function `backward`
# of this lesson, unchanged.

# %% tags=["solution"]
# The average passes 1/T of its gradient to each of the T states, so every step gets the same dy.
average = np.mean(hs[1:], axis=0)
dy_average = np.repeat((average - target[0])[None] / T, T, axis=0)
grads_of_average, _ = backward(x, hs, dy_average, W_ih, W_hh)


def loss_of_average():
    mean = np.mean(forward(x, h_0, W_ih, W_hh, b)[1:], axis=0)
    return 0.5 * ((mean - target[0]) ** 2).sum()


error = largest_error(grads_of_average["W_hh"], finite_differences(loss_of_average, W_hh))
show.text(f"The largest difference from finite differences is {error:.1e}.")
assert error < 1e-8

# %% [markdown]
# ### Exercise 2
#
# `backward` does not return the gradient of the inputs. Compute $dx$, of shape $(T, B, I)$, from its log. Then
# train the *inputs*: move $x$ against its gradient (one step of gradient descent), and check that the loss
# falls.

# %% tags=["solution"]
# (C8): x_t enters only its own step, through W_ih, and no later step uses it, so there is nothing to add up.
dx = np.stack([row["da"] @ W_ih for row in log[::-1]])
error = largest_error(dx, finite_differences(total, x))
before = total()
moved = loss(forward(x - 0.05 * dx, h_0, W_ih, W_hh, b))
show.text(
    f"The largest difference from finite differences is {error:.1e}. The loss falls from {before:.4f} to {moved:.4f}."
)
assert error < 1e-8
assert moved < before

# The project's own class computes it too.
rnn = numpy_impl.RNN(I, H, dtype="float64")
rnn.load_state_dict(params)
rnn(x, h_0[None])
assert largest_error(rnn.backward(dy)[0], dx) < 1e-13
