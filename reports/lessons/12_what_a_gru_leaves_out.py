# %% [markdown]
# # 12. What does a GRU leave out?
#
# **Question.** What does a GRU leave out of an LSTM, what does it add, and what follows for its gradients and for
# moving its weights?
#
# **Answer.** It leaves out the cell state, the output gate and the input gate: one gate decides how much of the state
# is kept, and the rest is filled with something new. It adds a reset gate, which acts inside the candidate, in one of
# two places, and the place matters. Its state is a weighted mean and cannot grow, its gradient has a straight path as
# that of an LSTM does, and one of its biases can be merged with no other.
#
# **What you need.** Lesson 7, on the LSTM. A **GRU** (Cho et al. 2014) reads an input $x_t$ at each **step** $t = 1,
# \dots, T$ and carries one **state** from step to step, the **hidden state** $h_t$, which is also its output. Each row
# of an array is one sequence of the batch, so $h_t$ has $B$ rows and $H$ columns, one for each **hidden unit**, and
# $x_t$ has $I$ columns. $\sigma(a) = 1 / (1 + e^{-a})$ is the **sigmoid**, $\odot$ the element-wise product,
# $\mathcal{L}$ the loss, and $dz$ is short for $\partial \mathcal{L} / \partial z$.

# %% tags=["setup"]
from typing import Any

import numpy as np
from flax import nnx

from common.backend import registry
from common.backend.contract import Batch
from common.conversions.layers import from_flax_gru, to_flax_gru, to_nnx_gru
from common.errors import InvalidInput
from common.model.initial import initial_network, initial_parameters
from common.model.layout import Weights, layer_weights
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec
from common.study.gradient_norms import gradient_norms
from numpy_impl import gru_cell, lstm_cell
from reports.teaching import show

NUMPY, JAX, TORCH, TORCH_NN = (registry.load(name) for name in ("numpy", "jax", "torch", "torch.nn"))
rng = np.random.default_rng(12)
I, H, B = 2, 4, 3
after, before = (ModelSpec(cell="GRUCell", input_size=I, hidden_size=H, reset_after=form) for form in (True, False))
params = initial_parameters(after, seed=12)
w = layer_weights(params, "")
OPEN = 50.0  # a pre-activation whose sigmoid is one to the last digit


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def run(w, x, h, reset_after=True):
    """The state after each step, and r, z, n at each step, all as arrays (T, B, H)."""
    states, tapes = [], []
    for x_t in x:
        (h,), tape = gru_cell.forward(w, x_t, (h,), reset_after)
        states.append(h)
        tapes.append(tape)
    return np.stack(states), *(np.stack([getattr(tape, gate) for tape in tapes]) for gate in after.kind.letters)


# %% [markdown]
# ## One step
#
# A GRU has three blocks where an LSTM has four: the **reset gate** $r$, the **update gate** $z$ and the **candidate**
# $n$, in this order. $W_{hh}^{rz}$ is the first two blocks of $W_{hh}$ and $W_{hh}^{n}$ the third. What comes from the
# input is $a$ and what comes from the state is $q$. They are kept apart, because in the candidate they are not simply
# added.

# %%
show.lines("G1", "G2", "G3", "G4", "G5", "G6")

# %% [markdown]
# The reset gate decides how much of the state the candidate sees. PyTorch's form is the upper line, "reset after"; the
# lower one is that of the paper, and we come back to it.

# %%
show.lines("G7", "G8", "G9", "G10")

# %% [markdown]
# The new state is a mean of the candidate and the old state, and the update gate holds the weights of this mean:

# %%
show.lines("G11")

# %% [markdown]
# Here one step is written out for both forms, with random states, and compared with every backend that has it.
# `torch.nn` has only the first form.

# %%
x, h_0 = rng.standard_normal((B, I)), rng.standard_normal((B, H))
a_r, a_z, a_n = np.hsplit(x @ w.weight_ih.T + w.bias_ih, 3)
W_r, W_z, W_n = np.vsplit(w.weight_hh, 3)
b_r, b_z, b_n = np.split(w.bias_hh, 3)
r, z = sigmoid(a_r + h_0 @ W_r.T + b_r), sigmoid(a_z + h_0 @ W_z.T + b_z)
candidates = {after: np.tanh(a_n + r * (h_0 @ W_n.T + b_n)), before: np.tanh(a_n + (r * h_0) @ W_n.T + b_n)}
for form, n in candidates.items():
    for backend in (NUMPY, JAX, TORCH, TORCH_NN)[: 4 if form.reset_after else 3]:
        _, (h_1,) = backend.forward(form, params, x[None], (h_0[None],))  # leading axis: layers
        np.testing.assert_allclose(h_1[0], (1 - z) * n + z * h_0, rtol=1e-12, atol=1e-15, err_msg=backend.name)

# %% [markdown]
# Side by side with the LSTM of lesson 7, and with the LSTM as it was in 1997, before the forget gate:

# %%
rows = [
    ("states", "h, c", "h, c", "h"),
    ("kept of the state", "f", "all", "z"),
    ("added of the candidate", "i", "i", "1 - z"),
    ("seen by what follows", "by o", "by o", "all"),
    ("seen by the candidate", "all", "all", "by r"),
]
counts = {
    cell: sum(v.size for v in initial_parameters(ModelSpec(cell=cell, input_size=10, hidden_size=20), 0).values())
    for cell in ("RNN", "LSTM", "LSTM1997", "GRU")
}
assert counts["LSTM"] == 4 * counts["RNN"] and counts["GRU"] == counts["LSTM1997"] == 3 * counts["RNN"]
compared = ("LSTM", "LSTM1997", "GRU")
numbers = [
    ("parameters", *(counts[cell] for cell in compared)),
    ("as many as in an Elman network, times", *(counts[cell] // counts["RNN"] for cell in compared)),
]
show.table("What the cells have, with I = 10 and H = 20", ("", "LSTM", "LSTM of 1997", "GRU"), [*rows, *numbers])

# %% [markdown]
# ## An LSTM with less
#
# Is a GRU really an LSTM from which something was taken? Let us take it out. The function below is an LSTM's step with
# two switches: `tied` replaces the input gate by $1 - f$, and without `output` the hidden state is the cell state
# itself, with neither tanh nor output gate.


# %%
def lstm_step(w, x, h_prev, c_prev, tied, output):
    a_i, a_f, a_g, a_o = np.hsplit(x @ w.weight_ih.T + h_prev @ w.weight_hh.T + w.bias_ih + w.bias_hh, 4)
    f = sigmoid(a_f)
    i = 1 - f if tied else sigmoid(a_i)
    c = f * c_prev + i * np.tanh(a_g)
    return (sigmoid(a_o) * np.tanh(c) if output else c), c


lstm = layer_weights(initial_parameters(ModelSpec(cell="LSTMCell", input_size=I, hidden_size=H), seed=13), "")
c_0 = rng.standard_normal((B, H))
whole, _ = lstm_cell.forward(lstm, x, (h_0, c_0))
np.testing.assert_allclose(lstm_step(lstm, x, h_0, c_0, False, True), whole, rtol=1e-12)  # it is an LSTM

# %% [markdown]
# Now we give this LSTM the weights of a GRU: $f$ gets those of $z$, and the candidate $g$ gets those of $n$. The rows
# of $i$ and $o$ are not used. In the GRU a large bias holds the reset gate open, so that $r = 1$. Both start from the
# same state and run for many steps.

# %%
T = 40
xs = rng.standard_normal((T, B, I))
open_reset = w._replace(bias_ih=w.bias_ih + np.repeat([OPEN, 0, 0], H))
rows_of = [1, 1, 2, 1]  # i, f, g, o get the rows of z, z, n, z, and i and o are not used
taken = Weights(*(np.concatenate([np.split(part, 3)[row] for row in rows_of]) for part in w[:4]))
wanted, r, *_ = run(open_reset, xs, h_0)
assert np.all(r == 1)
gaps = {}
for tied, output in ((True, False), (False, False), (True, True), (False, True)):
    h, c, found = h_0, h_0, []
    for x_t in xs:
        h, c = lstm_step(taken, x_t, h, c, tied, output)
        found.append(h)
    gaps[tied, output] = np.abs(np.stack(found) - wanted).max()
assert gaps[True, False] < 1e-14 and min(gap for key, gap in gaps.items() if key != (True, False)) > 0.1
rows = [
    ("1 - f" if tied else "a gate", "o * tanh(c)" if output else "c", f"{gap:.0e}")
    for (tied, output), gap in gaps.items()
]
columns = ("input gate", "hidden state", "largest difference from the GRU")
show.table(f"LSTMs with the weights of a GRU whose r is one, over {T} steps", columns, rows, numbers=(2,))

# %% [markdown]
# So a GRU without its reset gate is exactly an LSTM whose input gate is tied to its forget gate and whose cell state is
# its output. What an LSTM adds to its memory and what it keeps are two decisions; in a GRU, they are one.
#
# That has a consequence. $h_t$ is a mean of $h_{t-1}$ and of a tanh, so it never leaves the range from minus one to one
# if it starts there. The cell state of an LSTM can grow with every step: it can count, which a GRU cannot (Weiss,
# Goldberg & Yahav 2018). Below, an LSTM of 1997 with one unit adds the tanh of one at each step; its input gate is held
# open. A GRU with the same candidate approaches that value and stays there, whatever its update gate is.

# %%
T, ones = 50, np.ones((50, 1, 1))
single = ModelSpec(cell="LSTM1997Cell", input_size=1, hidden_size=1)
counting = {"weight_ih": np.array([[0.0], [1.0], [0.0]]), "weight_hh": np.zeros((3, 1))}
counting |= {"bias_ih": np.array([OPEN, 0, OPEN]), "bias_hh": np.zeros(3)}
_, (_, c_T) = NUMPY.forward(single, counting, ones)
np.testing.assert_allclose(c_T, T * np.tanh(1), rtol=1e-12)
rows = [("LSTM of 1997", "", f"{c_T.item():.2f}")]
for bias in (-2, 0, 2):
    mean = Weights(counting["weight_ih"][[0, 0, 1]], np.zeros((3, 1)), np.array([0.0, bias, 0.0]), np.zeros(3))
    h, _, z, _ = run(mean, ones, np.zeros((1, 1)))
    assert np.all(np.diff(h[:, 0, 0]) >= 0) and h.max() <= np.tanh(1) < c_T
    rows.append(("GRU", f"{z[0].item():.2f}", f"{h[-1].item():.2f}"))
assert np.abs(run(w, 100 * xs, np.clip(h_0, -1, 1))[0]).max() <= 1  # no input makes it larger
show.table(f"Counting to {T}", ("cell", "z", "state at the end"), rows, numbers=(1, 2))

# %% [markdown]
# ## Where the reset gate acts
#
# The paper scales the state before the product with $W_{hh}^{n}$; PyTorch scales the product. In the first form each
# old unit has a gate, in the second each sum over all of them has one. After the product, one product of the state can
# serve all three blocks, which is why fast implementations have this form. The weights have the same names and shapes
# in both, so a file does not show for which form it was trained. Below, the same weights are used in both, with larger
# and larger $W_{hh}$.

# %%
rows, apart = [], []
for scale in (0, 1, 2, 4):
    scaled = w._replace(weight_hh=scale * w.weight_hh)
    one, other = (run(scaled, xs, h_0, form)[0] for form in (True, False))
    apart.append(np.abs(one - other).max())
    rows.append((scale, f"{apart[-1]:.3f}"))
assert apart == sorted(apart) and apart[0] > 0.1 and apart[-1] > 0.6
show.table("The two forms, with equal weights", ("factor of W_hh", "largest difference of h"), rows, numbers=(0, 1))

# %% [markdown]
# In the first row $W_{hh}$ is zero, and the forms still differ: PyTorch's gate scales the inner bias too, and the
# paper's does not. They are the same function where $W_{hh}^{n}$ is diagonal and the inner bias is zero, because then
# no unit of the candidate sees another one:

# %%
diagonal = w._replace(weight_hh=w.weight_hh.copy(), bias_hh=w.bias_hh.copy())
diagonal.weight_hh[2 * H :] = np.diag(rng.standard_normal(H))
diagonal.bias_hh[2 * H :] = 0
np.testing.assert_allclose(run(diagonal, xs, h_0, True)[0], run(diagonal, xs, h_0, False)[0], rtol=1e-12)
diagonal.bias_hh[2 * H :] = w.bias_hh[2 * H :]
assert np.abs(run(diagonal, xs, h_0, True)[0] - run(diagonal, xs, h_0, False)[0]).max() > 1e-3

# %% [markdown]
# ## A bias that stands inside
#
# In an Elman network and in an LSTM the two biases enter through their sum, and one of them is superfluous. In a GRU
# this holds for $r$ and $z$, but the **inner bias**, the third block of $b_{hh}$, is multiplied by $r$. Moving it out,
# to the bias of the input, gives another function. Moving the others changes nothing:

# %%
moved = {}
for name, blocks in (("r and z", [1, 1, 0]), ("n", [0, 0, 1])):
    shift = np.repeat(blocks, H) * w.bias_hh
    merged = w._replace(bias_ih=w.bias_ih + shift, bias_hh=w.bias_hh - shift)
    moved[name] = np.abs(run(merged, xs, h_0)[0] - run(w, xs, h_0)[0]).max()
    show.text(f"The bias of {name} moved: h changes by up to {moved[name]:.0e}.")
assert moved["r and z"] < 1e-14 and moved["n"] > 0.01

# %% [markdown]
# So the gradients of the two biases differ in this block, by the factor $r$, and only there:

# %%
dh = rng.standard_normal((B, H))
(_,), tape = gru_cell.forward(w, x, (h_0,), True)
grads, dx, (dh_prev,) = gru_cell.backward(w, tape, (dh,), True)
da_n = dh * (1 - tape.z) * (1 - tape.n**2)
np.testing.assert_allclose(grads.bias_ih[: 2 * H], grads.bias_hh[: 2 * H], rtol=1e-14)
np.testing.assert_allclose(grads.bias_ih[2 * H :], da_n.sum(axis=0), rtol=1e-12)
np.testing.assert_allclose(grads.bias_hh[2 * H :], (da_n * tape.r).sum(axis=0), rtol=1e-12)

# %% [markdown]
# Flax has two cells, and they differ in this bias. `flax.linen.GRUCell` has one bias for $r$, one for $z$ and both for
# the candidate: a conversion merges two pairs, and the function stays the same. `flax.nnx.GRUCell` has no bias on the
# side of the state at all. Weights can be moved from it to PyTorch, but not back, unless the inner bias is zero.

# %%
linen, note = to_flax_gru(w)
assert sorted(name for name, part in linen.items() if "bias" in part) == ["hn", "in", "ir", "iz"]
back = from_flax_gru(linen)
np.testing.assert_allclose(run(back, xs, h_0)[0], run(w, xs, h_0)[0], rtol=1e-12)
assert not np.array_equal(back.bias_ih, w.bias_ih) and not back.bias_hh[: 2 * H].any()
theirs: Any = nnx.GRUCell(I, H, rngs=nnx.Rngs(12))
theirs.dense_i.bias.set_value(np.linspace(-1, 1, 3 * H).astype("float32"))
tree = nnx.to_pure_dict(nnx.state(theirs, nnx.Param))
assert {name: sorted(part) for name, part in tree.items()} == {"dense_i": ["bias", "kernel"], "dense_h": ["kernel"]}
ours = from_flax_gru({name: {key: np.asarray(v, "float64") for key, v in part.items()} for name, part in tree.items()})
h_1, _ = theirs(h_0.astype("float32"), x.astype("float32"))
np.testing.assert_allclose(run(ours, x[None], h_0)[0][0], np.asarray(h_1), rtol=1e-5, atol=1e-6)
assert not ours.bias_hh.any() and to_nnx_gru(ours).params.keys() == tree.keys()  # there and back
try:
    to_nnx_gru(w)
    refused = ""
except InvalidInput as error:
    refused = str(error)
assert "bias_hh of the candidate: expected zeros" in refused
rows = [
    ("torch.nn.GRU", "after", "r z n", "6", "nothing"),
    ("flax.linen.GRUCell", "after", "named", "4", "second biases of r, z"),
    ("flax.nnx.GRUCell", "after", "r z n", "3", "these and the inner bias"),
    ("Keras, reset_after=True", "after", "z r n", "6", "nothing"),
    ("Keras, reset_after=False", "before", "z r n", "3", "the place of r"),
    ("ONNX, linear_before_reset=1", "after", "z r n", "6", "nothing"),
    ("ONNX, linear_before_reset=0", "before", "z r n", "6", "the place of r"),
]
columns = ("system", "r acts", "order", "biases", "lost on the way from PyTorch")
show.table("Where weights of a GRU can go", columns, rows, numbers=(3,))
show.text(f"The conversion to `flax.linen.GRUCell` reports: {note}.")
show.text(f"The conversion to `flax.nnx.GRUCell` refuses: {refused}.")

# %% [markdown]
# Where the place of $r$ differs, no conversion helps: these are different functions, and the weights have to be trained
# again, or used in an implementation that has both forms.
#
# ## The backward pass
#
# The gates and the candidate, from the last line to the first:

# %%
show.lines("G12", "G13", "G14", "G15", "G16", "G17")

# %% [markdown]
# The old state is used in three places: in the mean, in the two gates, and in the candidate. So its gradient is a sum:

# %%
show.lines("G23")

# %% [markdown]
# Here its parts are computed one by one for the step from above, and compared with what autodiff finds. The first is
# the **straight path**: one product with $z$, a number between zero and one, without a matrix.

# %%
parts = {"dh * z, the straight path": dh * tape.z}
da_z = dh * (h_0 - tape.n) * tape.z * (1 - tape.z)
da_r = da_n * tape.q_n * tape.r * (1 - tape.r)
parts |= {"through the update gate": da_z @ W_z, "through the reset gate": da_r @ W_r}
parts["through the candidate"] = (da_n * tape.r) @ W_n
total = sum(parts.values())
np.testing.assert_allclose(dh_prev, total, rtol=1e-12)
for backend in (JAX, TORCH, TORCH_NN):
    (found,) = backend.vjp(after, params, x[None], (h_0[None],), np.zeros((1, B, H)), (dh[None],)).state0
    np.testing.assert_allclose(found[0], total, rtol=1e-10, atol=1e-14, err_msg=backend.name)
lengths = {name: np.linalg.norm(part) for name, part in parts.items()}
assert max(lengths, key=lengths.__getitem__) == "dh * z, the straight path"
rows = [(name, f"{length:.3f}") for name, length in lengths.items()]
rows += [("all", f"{np.linalg.norm(total):.3f}"), ("dh, for comparison", f"{np.linalg.norm(dh):.3f}")]
show.table("Norms of the parts of dh_prev", ("part", "norm"), rows, numbers=(1,))

# %% [markdown]
# ## A hundred steps back
#
# How much of a gradient reaches the first step? Along the straight path alone, a GRU keeps the product of all $z_t$, an
# LSTM that of all $f_t$, and an LSTM of 1997 keeps everything. Its authors called that the **constant error carousel**
# (Hochreiter & Schmidhuber 1997):

# %%
show.lines("V6", "V17")

# %% [markdown]
# If $W_{hh}$ is zero and the loss depends on the last memory alone, there is no other path, and this can be checked to
# the last digit. The memory is $h$ in a GRU and $c$ in an LSTM.

# %%
T = 100
xs = rng.standard_normal((T, B, I))
for cell, memory in (("GRUCell", 0), ("LSTM1997Cell", 1)):
    model = ModelSpec(cell=cell, input_size=I, hidden_size=H)
    alone = initial_parameters(model, seed=3) | {"weight_hh": np.zeros((3 * H, H))}
    state = tuple(rng.standard_normal((1, B, H)) for _ in model.state_names)
    last = tuple(rng.standard_normal((1, B, H)) * (place == memory) for place in range(len(state)))
    kept = run(layer_weights(alone, ""), xs, state[0][0])[2].prod(axis=0) if cell == "GRUCell" else 1.0
    for backend in (NUMPY, JAX, TORCH):
        grads = backend.vjp(model, alone, xs, state, np.zeros((T, B, H)), last)
        np.testing.assert_allclose(grads.state0[memory][0], kept * last[memory][0], rtol=1e-9, err_msg=backend.name)

# %% [markdown]
# And with all paths, before training, with PyTorch's initial weights? The loss is a squared error that reads only the
# last hidden state. For an Elman network and a GRU we look at the norm of $dh_t$, and for the two LSTMs at that of
# $dc_t$ with $h_t$ held fixed, each divided by the norm of $dh_T$. A GRU has no forget bias, but the bias of its update
# gate does the same, so there is one line for a GRU in which that is raised by three.

# %%
units, target = 16, rng.standard_normal((B, 3))
kinds = {
    "Elman, h": ("RNN", None),
    "LSTM, c": ("LSTM", None),
    "LSTM, c, forget bias 3": ("LSTM", 3.0),
    "GRU, h": ("GRU", None),
    "GRU, h, update bias 3": ("GRU", 3.0),
    "LSTM of 1997, c": ("LSTM1997", None),
}
curves, slopes = {}, {}
for label, (cell, bias) in kinds.items():
    forget = {"forget_bias": bias} if cell == "LSTM" else {}
    network = NetworkSpec(model=ModelSpec(cell=cell, input_size=I, hidden_size=units, **forget), readout_size=3)
    drawn = initial_network(network, seed=1)
    if cell == "GRU" and bias:
        drawn["rnn.bias_ih_l0"][units : 2 * units] += bias
    norms = gradient_norms(NUMPY, network, drawn, Batch(xs, target))
    memory = "c" if "c" in norms else "h"
    curves[label] = (norms[memory] / norms["h"][-1]).mean(axis=1)[:-1]
    if memory == "c":
        of_model = {name.removeprefix("rnn."): value for name, value in drawn.items() if name.startswith("rnn.")}
        _, (_, c_T) = NUMPY.forward(network.model, of_model, xs)
        slopes[label] = (1 - np.tanh(c_T) ** 2).mean()
ends = {label: curve[0] for label, curve in curves.items()}
rates = {label: (curve[0] / curve[-1]) ** (1 / (T - 1)) for label, curve in curves.items()}
assert ends["Elman, h"] < 1e-20 and max(ends["LSTM, c"], ends["GRU, h"]) < 1e-12
assert min(ends["LSTM, c, forget bias 3"], ends["GRU, h, update bias 3"], ends["LSTM of 1997, c"]) > 1e-3
assert abs(rates["LSTM of 1997, c"] - 1) < 0.01 < 1 - max(rates["LSTM, c, forget bias 3"], rates["LSTM, c"])
alt = f"Six lines; at t = 0, in the order of the legend: {', '.join(f'{end:.0e}' for end in ends.values())}."
caption = f"Four cells before training, T = {T}"
show.plot(caption, np.arange(T), curves, alt=alt, x_label="t", y_label="share of ||dL/dh_T||", log=True)
rows = [(label, f"{end:.0e}", f"{rates[label]:.3f}") for label, end in ends.items()]
show.table("What reaches step 0", ("network", "share", "factor for each step"), rows, numbers=(1, 2))

# %% [markdown]
# A GRU by itself is no cure either: its update gate starts half open, as the forget gate of an LSTM does, and what
# helps is the same bias. The LSTM of 1997 needs none: its line is flat. But it begins low. A gradient enters the cell
# state through the slope of the last $\tanh(c_T)$, and a cell state that can only add up what it is given moves away
# from zero, where that slope is small:

# %%
assert slopes["LSTM of 1997, c"] < 0.5 < 0.8 < slopes["LSTM, c"]
names = {"LSTM, c": "an LSTM", "LSTM of 1997, c": "the LSTM of 1997"}
values = " and ".join(f"{slopes[label]:.2g} in {name}" for label, name in names.items())
show.text(f"After {T} steps the mean slope of tanh at the cell state is {values}.")

# %% [markdown]
# That is what the forget gate was invented for (Gers et al. 2000): not for the gradient, but so that a cell can become
# empty. A GRU empties its state by filling it with something else.
#
# You can [step through a small GRU](stepper-gru.html) line by line, forward and backward.
#
# ## Exercises
#
# ### Exercise 1
#
# Build a GRU that remembers its first input. Let the input have two columns, a value and a **marker**, which is one at
# step 1 and zero afterwards. With the marker, $z$ should be shut, so that the candidate is stored; without it, $z$
# should be open. Let the pre-activation of $z$ be plus and minus a strength $s$. How much of the first candidate is
# left after fifty steps, by a formula and in the network? How does it differ from the LSTM of lesson 7, where the input
# gate could be shut on its own?

# %% tags=["solution"]
T, left = 50, []
xs = np.stack([rng.standard_normal((T, B)), np.zeros((T, B))], axis=2)
xs[0, :, 1] = 1
for strength in (2, 5, 10):
    # a_z = s (1 - 2 marker); the candidate reads only the value, and the reset gate does not matter.
    weight_ih, bias = np.zeros((3 * H, I)), np.zeros(3 * H)
    weight_ih[H : 2 * H, 1], weight_ih[2 * H :, 0], bias[H : 2 * H] = -2 * strength, 1, strength
    h, *_ = run(Weights(weight_ih, np.zeros((3 * H, H)), bias, np.zeros(3 * H)), xs, np.zeros((B, H)))
    keep, take = sigmoid(strength), sigmoid(-strength)
    share = (1 - take) * keep ** (T - 1)  # at step 1 z = sigmoid(-strength); it is kept at all other steps
    later = sum(take * keep ** (T - t) * np.tanh(xs[t - 1, :, :1]) for t in range(2, T + 1))
    np.testing.assert_allclose(h[-1], np.broadcast_to(share * np.tanh(xs[0, :, :1]) + later, (B, H)), rtol=1e-9)
    left.append(share)
    show.text(f"Strength {strength}: {share:.4f} is left; up to {np.abs(later).max():.4f} of other values leaked in.")
assert left == sorted(left) and left[-1] > 0.99
# What is not kept is replaced: the weights of the first candidate, of the later ones and of h_0 add up to one. An LSTM
# can shut i and f apart, and so it can keep a value without letting others in, or forget it without storing anything.
np.testing.assert_allclose(share + take * (keep ** np.arange(T - 1)).sum() + take * keep ** (T - 1), 1, rtol=1e-12)

# %% [markdown]
# ### Exercise 2
#
# Hold the update gate open, $z = 1$, and then shut, $z = 0$, by a large bias. What is left of the GRU in each
# case, and what is $dh_0$ after a hundred steps? In the second case, hold the reset gate open as well and compare with
# an Elman network.

# %% tags=["solution"]
T = 100
xs, dh_T = rng.standard_normal((T, B, I)), rng.standard_normal((1, B, H))
held = {}
for name, bias in (("open", OPEN), ("shut", -OPEN)):
    held[name] = params | {"bias_ih": params["bias_ih"] + np.repeat([OPEN, bias, 0], H)}
    h, (h_T,) = NUMPY.forward(after, held[name], xs, (h_0[None],))
    (dh_0,) = NUMPY.vjp(after, held[name], xs, (h_0[None],), np.zeros((T, B, H)), (dh_T,)).state0
    if name == "open":
        # Nothing is ever written, and the gradient arrives unchanged: a perfect memory that cannot learn anything new.
        np.testing.assert_allclose(h_T[0], h_0, atol=1e-12)
        np.testing.assert_allclose(dh_0, dh_T, atol=1e-12)
    else:
        # Only the candidate is left. With r = 1 it is an Elman network with the weights of the third block.
        elman = ModelSpec(cell="RNNCell", input_size=I, hidden_size=H)
        third = {key: value[2 * H :] for key, value in params.items()}
        np.testing.assert_allclose(h, NUMPY.forward(elman, third, xs, (h_0[None],))[0], atol=1e-12)
        assert np.linalg.norm(dh_0) < 1e-10 * np.linalg.norm(dh_T)
        show.text(
            f"With z = 0 the share of the gradient that arrives is {np.linalg.norm(dh_0) / np.linalg.norm(dh_T):.0e}."
        )
