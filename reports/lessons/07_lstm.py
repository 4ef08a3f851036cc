# %% [markdown]
# # 7. The LSTM: gates and a straight path
#
# **Question.** What do the gates do, what is the straight path of the cell state, and why is there a forget bias?
#
# **Answer.** Gates are numbers between zero and one that the network computes at each step: they decide how much of the
# memory to keep, how much of something new to add, and how much of the result to let out. From step to step the memory,
# called the cell state, is multiplied only by the forget gate, and so is its gradient on the way back: there is no
# matrix and no tanh on this path. With the usual initial weights, however, the forget gate is about half open, and a
# product of halves still vanishes, so a bias is added that opens it.
#
# **What you need.** An **LSTM** (Hochreiter & Schmidhuber 1997) reads an input $x_t$ at each **step** $t = 1, \dots, T$
# and carries two **states** from step to step: the **hidden state** $h_t$, which is also its output, and the **cell
# state** $c_t$. Each row of an array is one sequence of the batch, so both have $B$ rows and $H$ columns, one for each
# **hidden unit**; $x_t$ has $I$ columns. $\sigma(a) = 1 / (1 + e^{-a})$ is the **sigmoid**, which maps any number to a
# number between zero and one, and $\odot$ is the element-wise product. The **loss** $\mathcal{L}$ is the number that
# training makes smaller, and $dz$ is short for $\partial \mathcal{L} / \partial z$, the **gradient** of the loss with
# respect to $z$.

# %% tags=["setup"]
import numpy as np
import torch

from common.backend import registry
from common.model.initial import initial_parameters
from common.model.layout import Weights, layer_weights
from common.model.spec import ModelSpec
from numpy_impl import lstm_cell, unroll
from reports.teaching import show
from torch_impl import lstm_cell as torch_cell

NUMPY, JAX, TORCH, TORCH_NN = (registry.load(name) for name in ("numpy", "jax", "torch", "torch.nn"))
rng = np.random.default_rng(7)
I, H, B = 2, 4, 3
cell = ModelSpec(cell="LSTMCell", input_size=I, hidden_size=H)
params = initial_parameters(cell, seed=7)
OPEN, SHUT = 40.0, -40.0  # pre-activations whose sigmoid is one or zero to many digits


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def run(w, x, state):
    """Both states after each step, and i, f, g, o at each step, all as arrays (T, B, H)."""
    h, _, tapes = unroll.forward(lstm_cell.forward, w, x, state)
    gates = [np.stack([getattr(tape, gate) for tape in tapes]) for gate in cell.kind.letters]
    c = np.stack([tape.f * tape.c_prev + tape.i * tape.g for tape in tapes])
    return h, c, *gates


# %% [markdown]
# ## Four pre-activations from one product
#
# A step begins as in any recurrent network: the input and the previous hidden state are each multiplied by a matrix,
# and two biases are added. $h_{\text{prev}}$ and $c_{\text{prev}}$ are the states before the step.

# %%
show.lines("K1", "K2")

# %% [markdown]
# $W_{ih}$, $W_{hh}$ and the biases have $4H$ rows, so the **pre-activation** $a$ has $4H$ columns: four blocks of $H$
# columns, $a_i, a_f, a_g, a_o$. Each block becomes one of the following:
#
# - $i$, the **input gate**: how much of the new candidate is added;
# - $f$, the **forget gate**: how much of the old cell state is kept (it was added later, by Gers et al. 2000);
# - $g$, the **candidate**: what could be added, between minus one and one; it is not a gate, but is computed along with
#   the gates;
# - $o$, the **output gate**: how much of the cell state is let out.

# %%
show.lines("K3", "K4", "K5", "K6")

# %% [markdown]
# From these four the new states are computed. Every unit has its own gates, and its cell state does not mix with that
# of any other unit.

# %%
show.lines("K7", "K8")

# %% [markdown]
# Here one step is written out, with random states, and compared with one step of NumPy, JAX, PyTorch and
# `torch.nn.LSTMCell`:

# %%
x, h_0, c_0 = rng.standard_normal((B, I)), rng.standard_normal((B, H)), rng.standard_normal((B, H))
w = layer_weights(params, "")
a_i, a_f, a_g, a_o = np.hsplit(x @ w.weight_ih.T + h_0 @ w.weight_hh.T + w.bias_ih + w.bias_hh, 4)
c_1 = sigmoid(a_f) * c_0 + sigmoid(a_i) * np.tanh(a_g)
h_1 = sigmoid(a_o) * np.tanh(c_1)
for backend in (NUMPY, JAX, TORCH, TORCH_NN):
    _, (h, c) = backend.forward(cell, params, x[None], (h_0[None], c_0[None]))  # leading axis: layers
    np.testing.assert_allclose(h[0], h_1, rtol=1e-12, atol=1e-15, err_msg=backend.name)
    np.testing.assert_allclose(c[0], c_1, rtol=1e-12, atol=1e-15, err_msg=backend.name)

# %% [markdown]
# Next are five steps of a single unit with one input. In any row after the first, $c$ is $f$ times the $c$ in the row
# above plus $i$ times $g$.

# %%
tiny = layer_weights(initial_parameters(ModelSpec(cell="LSTMCell", input_size=1, hidden_size=1), seed=3), "")
inputs = rng.standard_normal((5, 1, 1))
h, c, i, f, g, o = run(tiny, inputs, (np.zeros((1, 1)), np.zeros((1, 1))))
np.testing.assert_allclose(c[1:], f[1:] * c[:-1] + i[1:] * g[1:], rtol=1e-12)
columns = {"x": inputs, "i": i, "f": f, "g": g, "o": o, "c": c, "h": h}
rows = [(t + 1, *(f"{values[t, 0, 0]:.3f}" for values in columns.values())) for t in range(5)]
show.table("Gates and states, step by step", ("t", *columns), rows, numbers=range(8))

# %% [markdown]
# ## Gates set by hand
#
# It is easiest to see what gates do when they do not change. A large positive bias keeps a gate open, and a large
# negative bias keeps it shut. Below, only the candidate sees the input, and all other weights are zero.


# %%
def by_hand(i, f, candidate):
    """Weights with these pre-activations of i and f, an open output gate, and the given W_ih of the candidate."""
    weight_ih = np.concatenate([np.zeros((2 * H, I)), candidate, np.zeros((H, I))])
    bias = np.repeat([i, f, 0.0, OPEN], H)
    return Weights(weight_ih, np.zeros((4 * H, H)), bias, np.zeros(4 * H))


T, candidate = 1000, rng.standard_normal((H, I))
x, start = rng.standard_normal((T, B, I)), (h_0, c_0)
_, c, *_ = run(by_hand(SHUT, OPEN, candidate), x, start)
np.testing.assert_allclose(c[-1], c_0, atol=1e-10)  # f = 1, i = 0: the memory is kept through a thousand steps of input
_, c, *_ = run(by_hand(SHUT, SHUT, candidate), x[:1], start)
np.testing.assert_allclose(c[0], 0, atol=1e-10)  # f = 0, i = 0: it is forgotten in one step
_, c, *_ = run(by_hand(OPEN, SHUT, candidate), x, start)
np.testing.assert_allclose(c, np.tanh(x @ candidate.T), atol=1e-10)  # f = 0, i = 1: only the candidate

# %% [markdown]
# With $f = 1$ and $i = 1$ the cell state adds up all candidates. The candidate is a tanh, which for small arguments is
# nearly equal to its argument. So if the weights of the candidate are scaled down by a small $\varepsilon$, then $c_t /
# \varepsilon$ is nearly the running sum of the weighted inputs: the LSTM is an accumulator.

# %%
wanted, errors, rows = (x[:50] @ candidate.T).cumsum(axis=0), [], []
for epsilon in (0.1, 0.01, 0.001):
    _, c, *_ = run(by_hand(OPEN, OPEN, epsilon * candidate), x[:50], (h_0, np.zeros((B, H))))
    errors.append(float(np.abs(c / epsilon - wanted).max()))
    rows.append((f"{epsilon:g}", f"{errors[-1]:.1e}"))
assert errors[2] < 1e-4 and all(90 < errors[n] / errors[n + 1] < 110 for n in (0, 1))
show.table(f"Sums up to {np.abs(wanted).max():.1f} in 50 steps", ("epsilon", "largest error"), rows, numbers=(0, 1))

# %% [markdown]
# The error falls with the square of $\varepsilon$, as the next term of the series of tanh predicts.
#
# ## The backward pass
#
# In the backward pass a step receives two gradients: $dh$, and $dc_{\text{next}}$, which the later steps send back to
# the cell state. The hidden state is computed from the cell state, so $dh$ contributes to the gradient of the cell
# state as well:

# %%
show.lines("K9")

# %% [markdown]
# The gradients of $i$, $f$ and $g$ come from $dc$, and that of $o$ comes from $dh$. Each of them is multiplied by the
# factor that stands beside it in (K7) or (K8), and then by the slope of its sigmoid or tanh. Side by side, the four
# results are $da$, which goes through the weights to $h_{\text{prev}}$ and $x$ as in any other network.

# %%
show.lines("K10", "K11", "K12", "K13")

# %% [markdown]
# And this is what flows back along the cell state:

# %%
show.lines("K19")

# %% [markdown]
# For each unit this is one product with a number between zero and one. From the end to the beginning, $dc_0 = dc_T
# \odot f_T \odot f_{T-1} \odot \cdots \odot f_1$, as long as nothing else is added. That is the **straight path**. What
# else is added comes through the hidden state: through (K9), and through the gates, which read $h_{\text{prev}}$. To
# see the straight path alone, we cut that connection: in PyTorch, `detach` passes on the value of $h$ but lets no
# gradient through. The forward pass is complete, with all weights.

# %%
T = 50
x, dc_T = rng.standard_normal((T, B, I)), rng.standard_normal((B, H))
w_torch = Weights(*(None if value is None else torch.tensor(value) for value in w))
h, c = torch.tensor(h_0), (first := torch.tensor(c_0, requires_grad=True))
for x_t in torch.tensor(x):
    h, c = torch_cell.step(w_torch, x_t, (h.detach(), c))
(straight,) = torch.autograd.grad(c, first, torch.tensor(dc_T))
f = run(w, x, start)[3]
np.testing.assert_allclose(straight.numpy(), dc_T * f.prod(axis=0), rtol=1e-9)

# %% [markdown]
# The same holds in all three frameworks without any cut if $W_{hh}$ is zero and the loss depends only on $c_T$, because
# then no gate reads the hidden state. `vjp` is a backward pass from given gradients, here $dc_T$, and zeros for the
# hidden states.

# %%
without = params | {"weight_hh": np.zeros((4 * H, H))}
f = run(layer_weights(without, ""), x, start)[3]
given = x, (h_0[None], c_0[None]), np.zeros((T, B, H)), (np.zeros((1, B, H)), dc_T[None])
for backend in (NUMPY, JAX, TORCH):
    _, dc_0 = backend.vjp(cell, without, *given).state0
    np.testing.assert_allclose(dc_0[0], dc_T * f.prod(axis=0), rtol=1e-9, err_msg=backend.name)

# %% [markdown]
# ## Why there is a forget bias
#
# The straight path works only as well as the forget gates are open. PyTorch draws all initial weights and biases around
# zero, so $a_f$ is around zero and $f$ is around one half. After $T$ steps about $2^{-T}$ of the gradient is left. A
# **forget bias**, a number added to $a_f$ at the start of training, opens the gate (Gers et al. 2000); one is a common
# value (Jozefowicz et al. 2015). There are two biases in (K2), and only their sum matters: in this project
# `forget_bias` is the value of that sum.
#
# For comparison we add an **Elman network** (Elman 1990), $h_t = \tanh(a_t)$, with a single block in $a_t$. There a
# step back is a product with the slopes of tanh and with $W_{hh}$. Its curve shows the largest share of the length of
# any gradient that $t$ such steps can leave, for the first sequence: the largest singular value of their product.

# %%
units, zero = 16, np.zeros((B, 16))
curves = {}
for bias in (None, 1, 2, 4):
    model = ModelSpec(cell="LSTMCell", input_size=I, hidden_size=units, forget_bias=bias)
    drawn = layer_weights(initial_parameters(model, seed=1), "")
    if bias is not None:
        np.testing.assert_allclose((drawn.bias_ih + drawn.bias_hh)[units : 2 * units], bias, rtol=1e-15)
    f = run(drawn, x, (zero, zero))[3]
    label = "no forget bias" if bias is None else f"forget bias {bias}"
    curves[label] = np.exp(np.log(f).cumsum(axis=0).mean(axis=(1, 2)))  # a geometric mean
    if bias is None:
        assert abs(np.log2(f).mean() + 1) < 0.1  # each step about halves it

# %%
elman = ModelSpec(cell="RNN", input_size=I, hidden_size=units)
drawn, product, spread = initial_parameters(elman, seed=1), np.eye(units), []
h, _ = NUMPY.forward(elman, drawn, x)
for h_t in h[:, 0]:
    product = np.diag(1 - h_t**2) @ drawn["weight_hh_l0"] @ product
    spread.append(np.linalg.norm(product, 2))
curves |= {"halved at each step": 0.5 ** np.arange(1, T + 1), "Elman, at most": np.array(spread)}
ends = [curve[-1] for curve in curves.values()]
assert ends[:4] == sorted(ends[:4]) and ends[0] < 1e-12 and ends[3] > 0.1 and ends[5] < 1e-10
alt = f"Six lines; after {T} steps, in the order of the legend: {', '.join(f'{e:.0e}' for e in ends)}."
caption = "What is left of a gradient after t steps, before training"
show.plot(caption, np.arange(1, T + 1), curves, alt=alt, x_label="t", y_label="share", log=True)

# %% [markdown]
# Without a forget bias the path loses about as much as the line that is halved at each step; each larger bias leaves
# more. The Elman network keeps next to nothing here, even in the best case.
#
# The forget bias is only an initial value, and training changes it like any other weight. It lets the gradient reach
# the early steps at the beginning of training, when the network has not yet learnt what is worth keeping.
#
# ## What the hidden state still does
#
# The straight path belongs to the cell state. The gradient of the hidden state takes another path, from step to step
# through $da$ and $W_{hh}$:

# %%
show.lines("K18")

# %% [markdown]
# That is a product with a matrix, as in the Elman network. This gradient can vanish, and with large weights it can
# explode and, through (K9), enter the gradient of the cell state too. Below, $W_{hh}$ is scaled up, and $dc_0$ is
# computed along the straight path alone and in full.

# %%
model, rows, full = ModelSpec(cell="LSTMCell", input_size=I, hidden_size=units), [], []
drawn, dc_T = initial_parameters(model, seed=1), rng.standard_normal((1, B, units))
for scale in (0, 1, 6, 20):
    scaled = drawn | {"weight_hh": scale * drawn["weight_hh"]}
    straight = dc_T[0] * run(layer_weights(scaled, ""), x, (zero, zero))[3].prod(axis=0)
    grads = NUMPY.vjp(model, scaled, x, None, np.zeros((T, B, units)), (np.zeros_like(dc_T), dc_T))
    dh_0, dc_0 = (np.linalg.norm(part) for part in grads.state0)
    full.append(dc_0)
    assert np.linalg.norm(straight) < np.linalg.norm(dc_T) and (dh_0 > 0) == (scale > 0)
    rows.append((scale, f"{np.linalg.norm(straight):.1e}", f"{dc_0:.1e}", f"{dh_0:.1e}"))
assert full == sorted(full) and full[0] < 1e-9 and full[3] > 1e3 * np.linalg.norm(dc_T)
columns = ("factor of W_hh", "dc_0, straight path alone", "dc_0, in full", "dh_0")
show.table(f"Norms after {T} steps back, from {np.linalg.norm(dc_T):.1f}", columns, rows, numbers=range(4))

# %% [markdown]
# Along the straight path alone the gradient never grows, because its factors are below one. In full, the larger
# $W_{hh}$ is, the more comes back, and in the last row it is far more than was given. What has come through $W_{hh}$
# also shows in $dh_0$, which is zero only in the first row. So open gates help against vanishing, but nothing keeps the
# path through $W_{hh}$ from exploding.
#
# ## The order of the gates is a convention
#
# The four blocks can be stacked in any order, and systems differ. The shapes are the same in all of them, so weights
# loaded in the wrong order raise no error; they only give a different function.

# %%
orders = {"PyTorch, and this project": "i f g o", "Keras, where g is named c": "i f c o", "ONNX": "i o f c"}
show.table("Gate order", ("system", "blocks"), list(orders.items()))
to_onnx = ["ifgo".index(gate) for gate in "iofg"]


def reorder(tree, places):
    """The blocks of H rows of every weight and bias, in the order of these positions."""
    return {name: np.concatenate([np.split(value, 4)[place] for place in places]) for name, value in tree.items()}


wrong = reorder(params, to_onnx)  # in the order of ONNX, but used as if in that of PyTorch
right = reorder(wrong, np.argsort(to_onnx))
state = (h_0[None], c_0[None])
wanted, *others = (TORCH_NN.forward(cell, tree, x, state)[0] for tree in (params, wrong, right))
assert wrong["weight_ih"].shape == params["weight_ih"].shape
assert np.abs(others[0] - wanted).max() > 0.1  # no error was raised, but the output is different
np.testing.assert_allclose(others[1], wanted, rtol=1e-12)
show.text(f"Gates in the wrong order change the output by up to {np.abs(others[0] - wanted).max():.2f}.")

# %% [markdown]
# You can [step through a small LSTM](stepper-lstm.html) line by line, forward and backward. Lesson 12 is about the GRU,
# which makes do with one state and fewer gates.
#
# ## Exercises
#
# ### Exercise 1
#
# Couple the gates: choose weights such that $i = 1 - f$ at every step and for every input. (Which $a_i$ gives
# $\sigma(a_i) = 1 - \sigma(a_f)$?) Check the result, also in PyTorch's own cell. What does this mean for the size of
# $c_t$?

# %% tags=["solution"]
# sigmoid(-a) = 1 - sigmoid(a), so a_i = -a_f is the solution: the rows of i are those of f with opposite sign.
coupled = {name: value.copy() for name, value in params.items()}
for value in coupled.values():
    value[:H] = -value[H : 2 * H]
_, c, i, f, g, _ = run(layer_weights(coupled, ""), x, start)
np.testing.assert_allclose(i, 1 - f, rtol=1e-12)
# c_t is then a weighted mean of c_{t-1} and g_t: it never leaves the range of c_0 and of [-1, 1].
assert np.all(np.abs(c) <= np.maximum(1, np.abs(c_0)))
weighted = c_0
for f_t, g_t in zip(f, g, strict=True):
    weighted = f_t * weighted + (1 - f_t) * g_t
_, (_, c_T) = TORCH_NN.forward(cell, coupled, x, state)
np.testing.assert_allclose(c_T[0], weighted, rtol=1e-10)

# %% [markdown]
# ### Exercise 2
#
# Build weights that remember the first input. Let the input have two columns, a value and a **marker**, which is one at
# step 1 and zero afterwards. The marker should open $i$ and shut $f$; without it, $i$ should be shut and $f$ open. Let
# the pre-activations be plus and minus a strength $s$. How much of the first candidate is left after 50 steps,
# according to the formula and in the network, for a few strengths? Which other values have leaked in?

# %% tags=["solution"]
x = np.stack([rng.standard_normal((T, B)), np.zeros((T, B))], axis=2)
x[0, :, 1] = 1
left = []
for strength in (2, 5, 10):
    # a_i = s (2 marker - 1) and a_f = -a_i; the candidate reads only the value.
    memory = by_hand(-strength, strength, np.tile([1.0, 0.0], (H, 1)))
    memory.weight_ih[:H, 1], memory.weight_ih[H : 2 * H, 1] = 2 * strength, -2 * strength
    _, c, *_ = run(memory, x, (np.zeros((B, H)), np.zeros((B, H))))
    share = sigmoid(strength) * sigmoid(strength) ** (T - 1)  # let in at step 1, kept at all other steps
    first = share * np.tanh(x[0, :, :1])
    later = sum(sigmoid(-strength) * sigmoid(strength) ** (T - t) * np.tanh(x[t - 1, :, :1]) for t in range(2, T + 1))
    np.testing.assert_allclose(c[-1], np.broadcast_to(first + later, (B, H)), rtol=1e-9, atol=1e-12)
    left.append(share)
    show.text(
        f"Strength {strength}: {share:.4f} of it is left; up to {np.abs(later).max():.4f} of other values leaked in."
    )
assert left == sorted(left) and left[-1] > 0.99
