# %% [markdown]
# # 6. Vanishing and exploding gradients
#
# **Question.** Why and when do gradients vanish or explode, and what do clipping and truncation do about it?
#
# **Answer.** On its way back through $T$ steps the gradient is multiplied by $T$ matrices, so its size changes like a
# power: it vanishes if these matrices shorten it again and again, and explodes if they lengthen it. Clipping shortens a
# gradient that is too long and keeps its direction, which helps against exploding but does nothing against vanishing.
# Truncation leaves out the early part of the gradient, which costs little if that part has vanished anyway, and much if
# it has not.
#
# **What you need.** An **Elman network** (Elman 1990) reads an input $x_t$ at each **step** $t = 1, \dots, T$ and keeps
# a **hidden state** $h_t$, the numbers that it carries from step to step: $h_t = \tanh(a_t)$ with the
# **pre-activation** $a_t = x_t W_{ih}^\top + h_{t-1} W_{hh}^\top + b_{ih} + b_{hh}$. Each row of an array is one
# sequence of the batch, so $h_t$ has $B$ rows (sequences) and $H$ columns (hidden units), and $W_{hh}$ is a square
# matrix with $H$ rows and columns. The **loss** $\mathcal{L}$ is the number that training makes smaller, and $dz$ is
# short for $\partial \mathcal{L} / \partial z$, the **gradient** with respect to $z$. The **norm** $\|z\|$ is the
# square root of the sum of squares, that is, the length of $z$.

# %% tags=["setup"]
import numpy as np

from common.backend import registry
from common.backend.contract import Batch
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec
from common.study.gradient_norms import gradient_norms
from numpy_impl import optim
from reports.teaching import show

NUMPY, JAX, TORCH = (registry.load(name) for name in ("numpy", "jax", "torch"))
rng = np.random.default_rng(6)
I, H, O = 2, 8, 3
elman = ModelSpec(cell="RNN", input_size=I, hidden_size=H, bias=False)
draw = rng.standard_normal((H, H))
random_matrix = draw / np.abs(np.linalg.eigvals(draw)).max()  # of spectral radius 1
orthogonal_matrix = np.linalg.qr(draw)[0]
weight_ih, weight_out = rng.standard_normal((H, I)), rng.standard_normal((O, H))


def elman_norms(weight_hh, x, target):
    """||dL/dh_t|| for t = 0 ... T and each sequence, where L is the squared error of a linear readout of h_T."""
    params = {"rnn.weight_ih_l0": weight_ih, "rnn.weight_hh_l0": weight_hh}
    params |= {"readout.weight": weight_out, "readout.bias": np.zeros(O)}
    return gradient_norms(NUMPY, NetworkSpec(model=elman, readout_size=O), params, Batch(x, target))["h"]


# %% [markdown]
# ## One step back is one matrix
#
# Back-propagation through time (Werbos 1990) goes from the last step to the first. At each step two lines carry the
# gradient from $h_t$ to $h_{t-1}$. In these equations $h_{\text{prev}}$ is $h_{t-1}$, and $\psi(h) = 1 - h \odot h$ is
# the slope of tanh, expressed in terms of its value; $\odot$ is the element-wise product.

# %%
show.lines("C4", "C9")

# %% [markdown]
# Together, for one sequence: $dh_{t-1} = (dh_t \odot (1 - h_t \odot h_t))\, W_{hh} = dh_t J_t$, where the **Jacobian**
# $J_t$ is the matrix of all derivatives of $h_t$ with respect to $h_{t-1}$. Its row $n$ is row $n$ of $W_{hh}$,
# multiplied by the slope of unit $n$. If the loss sees only $h_T$, then $dh_0 = dh_T J_T J_{T-1} \cdots J_1$. The next
# code block multiplies the Jacobians of each sequence and compares the result with the backward passes of the three
# frameworks.

# %%
T, B, params = 6, 3, {"weight_ih_l0": weight_ih, "weight_hh_l0": random_matrix}
x, h_0, dh_T = (rng.standard_normal(shape) for shape in ((T, B, I), (1, B, H), (1, B, H)))
h, _ = NUMPY.forward(elman, params, x, (h_0,))
by_jacobians = dh_T[0].copy()
for n in range(B):
    for t in reversed(range(T)):
        by_jacobians[n] = by_jacobians[n] @ (np.diag(1 - h[t, n] ** 2) @ random_matrix)
for backend in (NUMPY, JAX, TORCH):
    (dh_0,) = backend.vjp(elman, params, x, (h_0,), np.zeros((T, B, H)), (dh_T,)).state0
    np.testing.assert_allclose(dh_0[0], by_jacobians, rtol=1e-10, atol=1e-14)

# %% [markdown]
# ## Without the slopes: the power of a matrix
#
# Let the loss depend on $h_T$ only, through a linear layer. Set the inputs and the initial state to zero. Then every
# $h_t$ is zero, every slope is one, and $dh_T$ is multiplied by the same matrix $W_{hh}$ at every step. Two numbers
# describe what a matrix does to a length.
#
# - The **spectral radius** is the largest absolute value of an eigenvalue. In the long run each step multiplies the
#   length by about this number.
# - The largest **singular value** is the largest factor by which the matrix can lengthen any vector in one step. It is
#   never smaller than the spectral radius. For an **orthogonal** matrix, which preserves all lengths, both are one.

# %%
T, linear, rows = 60, {}, []
zeros, target = np.zeros((T, B, I)), rng.standard_normal((B, O))
for radius in (0.5, 0.9, 1.0, 1.1, 1.5):
    norms = elman_norms(radius * random_matrix, zeros, target)
    singular = np.linalg.norm(radius * random_matrix, 2)  # the largest singular value
    assert np.all(norms[:-1] <= singular * norms[1:] * (1 + 1e-12))  # no step lengthens by more than this factor
    rate = (norms[0] / norms[T // 2]) ** (2 / T)  # the mean factor of a step, over the earlier half
    assert np.allclose(rate, radius, rtol=0.05) and singular > radius
    linear[f"radius {radius:g}"] = norms[:, 0]
    rows.append((f"{radius:g}", f"{singular:.2f}", f"{rate.mean():.3f}", f"{norms[0, 0] / norms[T, 0]:.1e}"))
columns = ("spectral radius", "largest singular value", "factor for each step, earlier half", "||dh_0|| / ||dh_T||")
show.table(f"One random matrix, scaled to five radii: {T} steps back", columns, rows, numbers=range(4))
both = np.linalg.norm(orthogonal_matrix, 2), np.abs(np.linalg.eigvals(orthogonal_matrix)).max()
np.testing.assert_allclose(both, 1, rtol=1e-12)
low, high = linear["radius 0.5"][0], linear["radius 1.5"][0]
assert low < 1e-10 < 1e6 < high
alt = f"Five lines over t. From right to left, the lowest falls to {low:.0e}, the highest rises to {high:.0e}."
caption = "Norm of the gradient at each step, with slopes of one"
show.plot(caption, np.arange(T + 1), linear, alt=alt, x_label="t", y_label="||dL/dh_t||", log=True)

# %% [markdown]
# Read the plot from right to left, in the direction of the gradient. A straight line on a logarithmic scale means the
# same factor at every step, that is, a power.
#
# ## With tanh and inputs: the slopes matter too
#
# The slope of tanh is at most one, and near zero for a **saturated** unit, one whose value is near plus or minus one.
# Large inputs saturate the units, and then the gradient vanishes even though the spectral radius of $W_{hh}$ is above
# one. Below, the network with the largest radius gets inputs of increasing size.

# %%
curves, slopes, W, noise = {}, {}, 1.5 * random_matrix, rng.standard_normal((T, B, I))
for size in (0, 0.1, 1, 4):
    norms = elman_norms(W, size * noise, target)
    curves[f"inputs of size {size:g}"] = norms[:, 0] / norms[T, 0]
    h, _ = NUMPY.forward(elman, {"weight_ih_l0": weight_ih, "weight_hh_l0": W}, size * noise)
    slopes[size] = float((1 - h**2).mean())
arrives = [curve[0] for curve in curves.values()]
assert arrives == sorted(arrives, reverse=True) and arrives[0] > 1 > arrives[-1] and slopes[4] < slopes[0]
alt = f"Four lines over t that meet at t = {T}. At t = 0 they are at {', '.join(f'{a:.0e}' for a in arrives)}."
caption = "The same radius above one, with larger and larger inputs"
show.plot(caption, np.arange(T + 1), curves, alt=alt, x_label="t", y_label="share of ||dL/dh_T||", log=True)
show.text("Mean slope of tanh: " + ", ".join(f"{s:.2f} at size {size:g}" for size, s in slopes.items()) + ".")

# %% [markdown]
# ## Elman network and LSTM
#
# The **LSTM** (Hochreiter & Schmidhuber 1997) has a second state, the **cell state** $c_t$. From step to step it is
# multiplied by the **forget gate** $f_t$, numbers between zero and one that the network computes, and then something is
# added. On the way back along this path the gradient is multiplied only by $f_t$, not by a matrix or a slope of tanh.
# The **forget bias** is a number added to the pre-activation of $f_t$: the larger it is, the closer $f_t$ is to one
# (Gers et al. 2000).
#
# Here the weights are drawn as PyTorch draws its initial weights, uniformly between plus and minus one over the square
# root of the number of hidden units. For the Elman network we look at the norm of $dh_t$, for the LSTM at that of
# $dc_t$ with $h_t$ held fixed. First we check whether the three frameworks agree on these norms.

# %%
kinds = {"Elman, h": ("RNN", None), "LSTM, c": ("LSTM", None)}
kinds |= {f"LSTM, c, forget bias {bias}": ("LSTM", bias) for bias in (1, 3)}


def start(cell, forget_bias):
    """A network of this cell with 2H units, and its initial weights."""
    model = ModelSpec(cell=cell, input_size=I, hidden_size=2 * H, forget_bias=forget_bias)
    network = NetworkSpec(model=model, readout_size=O)
    return network, initial_network(network, seed=1)


short = Batch(rng.standard_normal((5, B, I)), target)
for backend, kind in ((b, k) for b in (TORCH, JAX) for k in ("Elman, h", "LSTM, c")):
    ours, theirs = (gradient_norms(b, *start(*kinds[kind]), short) for b in (NUMPY, backend))
    for state, norms in ours.items():
        np.testing.assert_allclose(theirs[state], norms, rtol=1e-10, err_msg=f"{backend.name} {kind} {state}")

# %% [markdown]
# They agree, so NumPy is enough for longer sequences. The norms are divided by that of $dh_T$, where both gradients
# begin. (The loss reads only $h_T$, so with $h_T$ held fixed $dc_T$ is zero, and the plot ends one step earlier.)

# %%
table, curves = {kind: [] for kind in kinds}, {}
for T in (10, 20, 40):
    batch = Batch(rng.standard_normal((T, B, I)), target)
    for kind, (cell, bias) in kinds.items():
        norms = gradient_norms(NUMPY, *start(cell, bias), batch)
        curves[kind] = (norms["h" if cell == "RNN" else "c"] / norms["h"][-1]).mean(axis=1)[:-1]
        table[kind].append(curves[kind][0])
ends = [shares[-1] for shares in table.values()]
assert ends == sorted(ends) and ends[1] < 1e-6 and ends[3] > 1e-2
rows = [(kind, *(f"{s:.1e}" for s in shares), f"{shares[-1] ** (1 / T):.2f}") for kind, shares in table.items()]
columns = ("network", "T = 10", "T = 20", "T = 40", "factor for each step")
show.table("Share of the gradient that reaches step 0", columns, rows, numbers=range(1, 5))
alt = f"Four lines; at t = 0, in the order of the legend: {', '.join(f'{end:.0e}' for end in ends)}."
caption = f"Elman and LSTM before training, T = {T}"
show.plot(caption, np.arange(T), curves, alt=alt, x_label="t", y_label="share of ||dL/dh_T||", log=True)

# %% [markdown]
# The LSTM by itself is no cure: with its default weights the gradient vanishes too. The last column is the mean factor
# for each step back; it is the forget bias that brings it close to one.
#
# ## Clipping: a remedy for exploding gradients
#
# **Clipping** (Pascanu et al. 2013) takes the norm of all gradients together and multiplies all of them by $\min(1, c /
# \text{norm})$, with a limit $c$ that you choose. The norm becomes at most $c$, and the direction stays the same.

# %%
show.source("numpy_impl/optim.py", "clip")
grads = {"one": rng.standard_normal((3, 4)), "two": rng.standard_normal(5)}
flat, cut = (np.concatenate([g.ravel() for g in tree.values()]) for tree in (grads, optim.clip(grads, 0.5)))
np.testing.assert_allclose(np.linalg.norm(cut), 0.5, rtol=1e-12)
np.testing.assert_allclose(cut @ flat, np.linalg.norm(cut) * np.linalg.norm(flat), rtol=1e-12)  # the same direction

# %% [markdown]
# Why is a long gradient dangerous? Take an Elman network with one unit, a negative bias and an initial state above
# zero. The weight $w = W_{hh}$ decides whether the state ends near minus one or near plus one. So the loss, as a
# function of $w$, has a wall with an enormous slope.

# %%
unit, T, goal = ModelSpec(cell="RNN", input_size=1, hidden_size=1), 20, -0.9
zeros = np.zeros((T, 1, 1))


def loss_and_gradient(w):
    """The squared distance of h_T from the goal, for h_0 = 1/2, and its gradient; each takes a pass of T steps."""
    params = {"weight_ih_l0": np.zeros((1, 1)), "weight_hh_l0": np.full((1, 1), w)}
    params |= {"bias_ih_l0": np.full(1, -0.5), "bias_hh_l0": np.zeros(1)}
    given = unit, params, zeros, (zeros[:1] + 0.5,)
    _, (h_T,) = NUMPY.forward(*given)
    grads = NUMPY.vjp(*given, zeros, (2 * (h_T - goal),))
    return (h_T.item() - goal) ** 2, grads.params["weight_hh_l0"].item()


ws = np.linspace(1, 3, 41)
losses = np.array([loss_and_gradient(w)[0] for w in ws])
rise = int(np.diff(losses).argmax())
slope, w = max((loss_and_gradient(w)[1], w) for w in np.linspace(ws[rise], ws[rise + 1], 501))
left, right = losses[:rise].max(), losses[rise + 2 :].min()
assert left < 0.1 < 1 < right and slope > 1000
alt = f"The loss is at most {left:.2f} on the left, jumps up at w = {w:.2f}, is at least {right:.2f} on the right."
show.plot("A wall in the loss", ws, {"loss": losses}, alt=alt, x_label="w", y_label="loss")

# %% [markdown]
# Now we take one step of gradient descent, $w \leftarrow w - \eta\, dw$ with the learning rate $\eta$, from the
# steepest point, with and without clipping.

# %%
rate, moved = 0.2, {"before": w}
for name, limit in (("unclipped", np.inf), ("clipped", 1.0)):
    moved[name] = w - rate * optim.clip({"w": np.array(slope)}, limit)["w"].item()
loss_at = {name: loss_and_gradient(place)[0] for name, place in moved.items()}
assert abs(moved["unclipped"] - w) > 10 * (ws[-1] - ws[0])  # far outside the plot
assert abs(moved["clipped"] - w) <= rate * (1 + 1e-12)  # at most the learning rate times the limit
assert loss_at["clipped"] < loss_at["before"] < loss_at["unclipped"]
rows = [(name, f"{place:.2f}", f"{loss_at[name]:.4f}") for name, place in moved.items()]
show.table(f"One step from the wall, where the gradient is {slope:.0f}", ("step", "w", "loss"), rows, numbers=(1, 2))

# %% [markdown]
# Both steps go to the left, down the wall. The unclipped step goes on for many times the width of the plot, to a place
# where the loss is higher than before.
#
# Clipping does nothing against vanishing. A short gradient is not changed. In a long gradient all parts are multiplied
# by the same factor, so the share of the early steps stays the same. To see this, let the first input column be zero
# except at step 1: then the first column of $dW_{ih}$ is exactly what comes from step 1.

# %%
T = 30
x, dh_T = rng.standard_normal((T, B, I)), rng.standard_normal((1, B, H))
x[1:, :, 0] = 0
params = {"weight_ih_l0": weight_ih, "weight_hh_l0": 0.7 * orthogonal_matrix}
grads = NUMPY.vjp(elman, params, x, None, np.zeros((T, B, H)), (dh_T,)).params
norm, shares = np.sqrt(sum((g**2).sum() for g in grads.values())), []
for limit in (2 * norm, norm / 10):
    clipped = optim.clip(grads, limit)
    assert all(np.array_equal(clipped[name], g) for name, g in grads.items()) == (limit > norm)
    shares.append(np.linalg.norm(clipped["weight_ih_l0"][:, 0]) / np.linalg.norm(clipped["weight_ih_l0"]))
np.testing.assert_allclose(shares[1], shares[0], rtol=1e-12)
assert shares[0] < 1e-4
show.text(f"Share of step 1 of {T} in the gradient: {shares[0]:.1e} unclipped, {shares[1]:.1e} clipped.")

# %% [markdown]
# ## Truncation: leaving out the early part
#
# All steps use the same $W_{hh}$, so its gradient is a sum over the steps: $dW_{hh} = \sum_t da_t^\top h_{t-1}$.
# **Truncated back-propagation through time** (Williams & Peng 1990) treats $h_{T-k}$ as a constant and goes back only
# $k$ steps. That saves time and memory. It leaves out the terms with $t \le T - k$. The next code block computes the
# terms one by one, with the two lines from above, and compares their sums with the gradient of the last $k$ steps
# alone. After that, $W_{hh}$ is the orthogonal matrix, scaled to two radii.

# %%
T = 25
x, dh_T = 0.1 * rng.standard_normal((T, B, I)), rng.standard_normal((1, B, H))


def truncated(weight_hh):
    """The gradient of W_hh from only the last k steps, for k = 1 ... T."""
    params = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh}
    h, _ = NUMPY.forward(elman, params, x)
    h_prev, dh, terms, cuts = np.concatenate([np.zeros((1, B, H)), h[:-1]]), dh_T[0], [], []
    for t in reversed(range(T)):
        da = dh * (1 - h[t] ** 2)
        terms.append(da.T @ h_prev[t])
        dh = da @ weight_hh
        alone = elman, params, x[t:], (h_prev[t][None],), np.zeros((T - t, B, H)), (dh_T,)
        cuts.append(NUMPY.vjp(*alone).params["weight_hh_l0"])
    np.testing.assert_allclose(cuts, np.cumsum(terms, axis=0), rtol=1e-10, atol=1e-13)
    return cuts


# %%
errors = {}
for radius in (0.6, 1.0):
    cuts = truncated(radius * orthogonal_matrix)
    gaps = [np.linalg.norm(cut - cuts[-1]) for cut in cuts[:-1]]  # from the full gradient, that of k = T
    errors[f"radius {radius:g}"] = np.array(gaps) / np.linalg.norm(cuts[-1])
small, large = (values[9] for values in errors.values())
assert all((np.diff(values) < 0).all() for values in errors.values())
assert small < 0.02 < 0.2 < large
alt = f"Two lines that fall with k. At k = 10 of {T} the error is {small:.1e} for radius 0.6, {large:.1e} for radius 1."
caption = "Relative error of the truncated gradient of W_hh"
show.plot(caption, np.arange(1, T), errors, alt=alt, x_label="k, steps kept", y_label="error", log=True)

# %% [markdown]
# If gradients vanish, truncation is nearly free: what it leaves out was next to nothing. If they do not vanish, it
# leaves out a real part of the gradient, and training learns nothing about dependencies longer than $k$ steps.
#
# ## Exercises
#
# ### Exercise 1
#
# Show that with an orthogonal $W_{hh}$ and without inputs the norm of $dh_t$ stays constant over a hundred steps, in
# NumPy and in PyTorch. Then scale the matrix so that a hundred steps halve the norm. Compute the scale first, then
# check it.

# %% tags=["solution"]
T = 100
x, dh_T = np.zeros((T, B, I)), rng.standard_normal((1, B, H))
scale = 0.5 ** (1 / T)  # scale ** T is one half
for factor, wanted in ((1.0, 1.0), (scale, 0.5)):
    params = {"weight_ih_l0": weight_ih, "weight_hh_l0": factor * orthogonal_matrix}
    for backend in (NUMPY, TORCH):
        (dh_0,) = backend.vjp(elman, params, x, None, np.zeros((T, B, H)), (dh_T,)).state0
        ratio = np.linalg.norm(dh_0[0], axis=1) / np.linalg.norm(dh_T[0], axis=1)
        np.testing.assert_allclose(ratio, wanted, rtol=1e-10)
show.text(f"A matrix scaled by {scale:.4f} halves the gradient in {T} steps.")

# %% [markdown]
# ### Exercise 2
#
# For both networks of the last plot, find the smallest $k$ from which the relative error stays below one hundredth.
# Then predict it for the first network: if each step back shortens a term by the spectral radius $r$, how large must
# $k$ be?

# %% tags=["solution"]
needed = [int(np.flatnonzero(values >= 0.01).max()) + 2 for values in errors.values()]  # index 0 is k = 1
# Terms shrink like r ** k, so r ** k = 1/100 gives k = log(1/100) / log(r).
predicted = np.log(0.01) / np.log(0.6)
assert abs(needed[0] - predicted) <= 3 and needed[1] > 2 * needed[0]
# (24 steps give the whole gradient: the term of step 1 is zero, because the state before it is zero.)
show.text(f"{needed[0]} and {needed[1]} of 25 steps are needed; the prediction for the first is about {predicted:.1f}.")
