# %% [markdown]
# # 8. Layers and directions: which output?
#
# **Question.** What do `num_layers` and `bidirectional` add, and which of the results do generation, translation and
# classification need?
#
# **Answer.** A second layer is another network that reads the outputs of the first, and the reverse direction is a
# network with its own weights that reads the sequence from its end. `output` has every step of the last layer, while
# `h_n` has the final state of every layer and direction; in the reverse direction that is the state after reading the
# first input. Generation uses every step of a network with one direction, classification uses the final states of the
# last layer in all its directions, and translation passes the final states of all layers to a decoder.
#
# A **recurrent network** reads a sequence step by step. Its **hidden state**, a row of $H$ numbers, is passed from each
# step to the next; $h_0$ is the state before the first step. An input $x$ has the shape (T, B, I): $T$ steps, a
# **batch** of $B$ sequences that are read side by side, and $I$ numbers at each step. **Weights** are the matrices and
# biases that are learnt; every step uses the same ones. Most of this lesson uses the network of Elman (1990), with $h_t
# = \tanh(x_t W_{ih}^\top + b_{ih} + h_{t-1} W_{hh}^\top + b_{hh})$.

# %% tags=["setup"]
from typing import Any

import numpy as np
import torch

import numpy_impl
from common.backend import registry
from common.errors import InvalidInput
from common.model.describe import describe
from common.model.masks import dropout_masks
from common.model.network import READOUTS
from reports.teaching import show

rng = np.random.default_rng(8)
T, B, I, H, P = 6, 3, 2, 7, 5
x = rng.normal(size=(T, B, I))
h_0 = rng.normal(size=(4, B, H))  # for up to two layers in two directions


def same(a: Any, b: Any) -> bool:
    """Equal in shape, and in every number up to rounding."""
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-11, atol=1e-13)


def part(whole: numpy_impl.RNN, suffix: str) -> numpy_impl.RNN:
    """One direction of one layer, as a separate network with the same weights."""
    params = {name: value for name, value in whole.state_dict().items() if name.endswith(suffix)}
    alone = numpy_impl.RNN(params["weight_ih" + suffix].shape[1], H, dtype="float64")
    alone.load_state_dict({name.removesuffix(suffix) + "_l0": value for name, value in params.items()})
    return alone


# %% [markdown]
# ## Two layers are two networks
#
# `num_layers=2` puts a second network on top of the first. Its inputs are the outputs of the first at the same steps.
# Here we run the two networks separately, with the same weights. `h_0` and `h_n` have one row for each layer.

# %%
two = numpy_impl.RNN(I, H, num_layers=2, dtype="float64", seed=1)
y, h_n = two(x, h_0[:2])
lower, upper = part(two, "_l0"), part(two, "_l1")
y_lower, h_lower = lower(x, h_0[:1])
y_upper, h_upper = upper(y_lower, h_0[1:2])
assert same(y, y_upper)
assert same(h_n, np.concatenate([h_lower, h_upper]))

# %% [markdown]
# This is the place where `dropout` acts. In training it multiplies the numbers that go *from one layer to the next* by
# a **mask**, which is drawn at random and is either zero or a factor above one. It acts neither on the last output nor
# between the steps, and in evaluation it does not act at all.

# %%
dropping = numpy_impl.RNN(I, H, num_layers=2, dropout=0.5, dtype="float64", seed=1)
masks = dropout_masks(dropping.spec, T, B, rng).layers  # (layers - 1, T, B, H)
y_dropped, h_dropped = dropping(x, h_0[:2], masks=masks)
assert same(y_dropped, upper(y_lower * masks[0], h_0[1:2])[0])
assert same(h_dropped[0], h_lower[0])
assert not same(y_dropped, y)
assert same(dropping.eval()(x, h_0[:2])[0], y)

# %% [markdown]
# ## Two directions are two networks
#
# With `bidirectional=True` (Schuster & Paliwal 1997) a second network of the same size reads the sequence from its end.
# Its outputs are put back into the original order, so that step $t$ of both belongs to $x_t$. The two are placed side
# by side: `output` has $2H$ columns, and those of the forward direction come first.

# %%
both = numpy_impl.RNN(I, H, bidirectional=True, dtype="float64", seed=2)
y, h_n = both(x, h_0[:2])
y_forward, h_forward = part(both, "_l0")(x, h_0[:1])
y_reverse, h_reverse = part(both, "_l0_reverse")(x[::-1], h_0[1:2])
assert same(y, np.concatenate([y_forward, y_reverse[::-1]], axis=2))
assert same(h_n, np.concatenate([h_forward, h_reverse]))
assert not same(y[..., H:], y_reverse)

# %% [markdown]
# With two layers in two directions, both directions of layer 1 read both directions of layer 0. The loop over layers
# and directions is the same in all three frameworks. `level` is the layer, `turn` reverses a sequence, and `finals`
# becomes `h_n`; only NumPy keeps a **tape**, which holds what its backward pass needs.

# %%
show.source("numpy_impl/stack.py", "forward")
show.source("jax_impl/stack.py", "forward")
show.source("torch_impl/stack.py", "forward")

# %% [markdown]
# ## Which row of `h_n` is which
#
# Now we do the same by hand for two layers and two directions. Every row of `h_n` is compared with the four final
# states, and with every step and both halves of `output`. JAX, PyTorch, and PyTorch's own layer must give the same
# rows.

# %%
deep = numpy_impl.RNN(I, H, num_layers=2, bidirectional=True, dtype="float64", seed=3)
y, h_n = deep(x, h_0)
for name in ("jax", "torch", "torch.nn"):
    y_other, (h_other,) = registry.load(name).forward(deep.spec, deep.state_dict(), x, (h_0,))
    assert same(y_other, y)
    assert same(h_other, h_n)

finals, inputs = {}, [x]
for layer in range(2):
    y_forward, finals[layer, "forward"] = part(deep, f"_l{layer}")(inputs[layer], h_0[2 * layer][None])
    reverse = part(deep, f"_l{layer}_reverse")
    y_reverse, finals[layer, "reverse"] = reverse(inputs[layer][::-1], h_0[2 * layer + 1][None])
    inputs.append(np.concatenate([y_forward, y_reverse[::-1]], axis=2))
assert same(inputs[2], y)

halves = {":H": y[..., :H], "H:": y[..., H:]}
rows = []
for row in range(4):
    [(layer, direction)] = [key for key, final in finals.items() if same(final[0], h_n[row])]
    assert row == layer * 2 + ["forward", "reverse"].index(direction)
    at = [f"output[{t}, :, {half}]" for half, block in halves.items() for t in range(T) if same(block[t], h_n[row])]
    rows.append((f"h_n[{row}]", layer, direction, at[0] if at else "nowhere"))
assert [row[3] for row in rows] == ["nowhere", "nowhere", f"output[{T - 1}, :, :H]", "output[0, :, H:]"]
show.table(
    f"The rows of h_n, identified by comparison (T = {T})",
    ("row", "layer", "direction", "the same numbers in output"),
    rows,
)

# %% [markdown]
# The index of a row is the layer times the number of directions, plus the direction. The rows of the lower layers do
# not appear in `output` at all. And the last row is not in `output[-1]` but in `output[0]`, where the reverse direction
# has reached its end.
#
# ## What a result has seen
#
# A gradient shows what a result depends on: if the derivative of a result with respect to the input of a step is not
# zero, the result has seen that input. We begin with the network of one layer in two directions, step by step.


# %%
def seen(network: numpy_impl.RNN, result: str, place: Any) -> list[int]:
    """The steps whose inputs influence ``output[place]`` or ``h_n[place]``."""
    results = dict(zip(("output", "h_n"), network(x), strict=True))
    given = {name: np.zeros_like(value) for name, value in results.items()}
    given[result][place] = rng.normal(size=given[result][place].shape)
    dx, _ = network.backward(given["output"], given["h_n"])
    return [t for t in range(T) if dx[t].any()]


FORWARD, REVERSE = np.s_[:, :H], np.s_[:, H:]
counts = {
    name: [len(seen(both, "output", (t, *half))) for t in range(T)]
    for name, half in (("forward half", FORWARD), ("reverse half", REVERSE))
}
assert counts == {"forward half": [1, 2, 3, 4, 5, 6], "reverse half": [6, 5, 4, 3, 2, 1]}
assert all(seen(both, "output", t) == list(range(T)) for t in range(T))  # both halves together
alt = "The forward half rises from {0[0]} to {0[5]} inputs, the reverse half falls from {1[0]} to {1[5]}."
alt = alt.format(*counts.values())
show.plot("How many inputs output[t] has seen", range(T), counts, alt=alt, x_label="step t", y_label="inputs")

# %% [markdown]
# So half of `output[-1]` has seen only one input. If you use `output[-1]` of a bidirectional network to **classify**
# (to assign a whole sequence to a class), you lose what the reverse direction has read. `h_n[-2]` and `h_n[-1]` are the
# final states of both directions, each after T steps.

# %%
places = {
    "output[-1, :, :H]": ("output", (-1, *FORWARD)),
    "output[-1, :, H:]": ("output", (-1, *REVERSE)),
    "output[0, :, H:]": ("output", (0, *REVERSE)),
    "h_n[-2]": ("h_n", -2),
    "h_n[-1]": ("h_n", -1),
}
rows = [(name, len(seen(both, *place)), len(seen(deep, *place))) for name, place in places.items()]
assert [row[1] for row in rows] == [T, 1, T, T, T]
assert [row[2] for row in rows] == [T, T, T, T, T]
show.table(f"How many of {T} inputs a result has seen", ("result", "one layer", "two layers"), rows, numbers=(1, 2))

# %% [markdown]
# With two layers there is no 1 in the table, yet the problem is the same. The lower layer has already carried all
# inputs to every step. But at `output[-1]` the reverse direction of the upper layer has made only one step: if we run
# it on nothing but the last output of the lower layer, it gives the same numbers.

# %%
one_step, _ = part(deep, "_l1_reverse")(inputs[1][-1:], h_0[3:])
y, h_n = deep(x, h_0)
assert same(one_step[0], y[-1][REVERSE])
assert not same(h_n[-1], y[-1][REVERSE])
assert same(h_n[-1], y[0][REVERSE])

# %% [markdown]
# In a **ragged** batch the sequences have different lengths and are padded to T steps. With `lengths` the results are
# as if each sequence had been run alone: the reverse direction starts at the end of its own sequence, and `output` is
# zero after that end. So for a shorter sequence `output[-1]` is zero, and `h_n` has its final states.

# %%
lengths = np.array([T, 2, 4])
y, h_n = both(x, h_0[:2], lengths=lengths)
for b, length in enumerate(lengths):
    y_alone, h_alone = both(x[:length, b], h_0[:2, b])
    assert same(h_n[:, b], h_alone)
    assert same(y[:, b], np.concatenate([y_alone, np.zeros((T - length, 2 * H))]))

# %% [markdown]
# ## An LSTM has two states
#
# An **LSTM** (Hochreiter & Schmidhuber 1997; Gers et al. 2000) carries a second state from step to step, besides $h$:
# the **cell state** $c$. So there is a `c_n` with the same rows as `h_n`. It is never part of `output`. With
# `proj_size` another matrix makes $h$ narrower, with $P$ columns, while $c$ keeps $H$ columns.

# %%
plain = numpy_impl.LSTM(I, H, dtype="float64", seed=4)
y, (h_n, c_n) = plain(x)
assert same(h_n[0], y[-1])
assert not any(same(c_n[0], y[t]) for t in range(T))

lstm = numpy_impl.LSTM(I, H, num_layers=2, bidirectional=True, proj_size=P, dtype="float64")
oracle = torch.nn.LSTM(I, H, num_layers=2, bidirectional=True, proj_size=P, dtype=torch.float64)
calls: list[tuple[Any, Any]] = [(lstm, x), (oracle, torch.from_numpy(x))]
shapes = describe(lstm.spec, steps=T, batch=B).shapes
for network, array in calls:
    y, (h_n, c_n) = network(array)
    assert (y.shape, h_n.shape, c_n.shape) == (shapes["output"], shapes["h_n"], shapes["c_n"])
axes = {"output": (T, B, 2 * P), "h_n": (2 * 2, B, P), "c_n": (2 * 2, B, H)}
assert all(shapes[name] == shape for name, shape in axes.items())
text = {"output": "(T, B, 2 * P)", "h_n": "(2 * 2, B, P)", "c_n": "(2 * 2, B, H)"}
rows = [(name, text[name], shape) for name, shape in axes.items()]
show.table(f"2 layers, 2 directions, T = {T}, B = {B}, H = {H}, P = {P}", ("array", "shape", "here"), rows)

# %% [markdown]
# ## Which result each task needs
#
# **Generation** continues a sequence: at every step it predicts the next input. So `output[t]` may have seen the inputs
# up to $t$, but no later one. With a reverse direction it has already seen the very input that it should predict. In
# training such a network could simply copy it; when the network generates, that input does not exist yet.

# %%
t = 2
assert seen(two, "output", t) == list(range(t + 1))
assert t + 1 in seen(both, "output", t)

# %% [markdown]
# **Translation** reads one sequence with an **encoder** and writes another, possibly of a different length, with a
# **decoder** (Sutskever, Vinyals & Le 2014). The final states of *all* layers of the encoder are the initial states of
# the decoder. To check that the state of every layer is used, we take the gradient of the decoder's first output and
# follow it back.

# %%
encoder, decoder = two, numpy_impl.RNN(I, H, num_layers=2, dtype="float64", seed=5)
y_encoder, h_n = encoder(x)
y, _ = decoder(rng.normal(size=(4, B, I)), h_n)
dy = np.zeros_like(y)
dy[0] = rng.normal(size=(B, H))
_, dh_0 = decoder.backward(dy)
assert all(dh_0[layer].any() for layer in range(2))
dx, _ = encoder.backward(np.zeros_like(y_encoder), dh_0)  # the encoder's outputs are not used
seen_by_decoder = [s for s in range(T) if dx[s].any()]
assert seen_by_decoder == list(range(T))
with np.testing.assert_raises(InvalidInput) as refused:
    decoder(x, h_n[-1:])  # the last layer only
show.output("The last layer's state alone is refused", refused.exception)

# %% [markdown]
# **Tagging** gives every element of a sequence a label, such as the part of speech of each word. The whole sequence is
# available from the start, so it can be read in both directions. The **readout** is what the layer after the network
# sees; the table gives the names that this project uses for it.

# %%
rows = [
    ("generation", "output[t], one direction", "every_step", seen(two, "output", t)),
    ("tagging", "output[t], both directions", "every_step", seen(both, "output", t)),
    ("classification", "output[-1] or h_n[-1], one direction", "last_step", seen(two, "output", -1)),
    ("classification", "h_n[-2] and h_n[-1] side by side", "final_state", seen(both, "h_n", np.s_[-2:])),
    ("translation", "all of h_n (and c_n), into a decoder", "encoder_decoder", seen_by_decoder),
]
assert {row[2] for row in rows} < set(READOUTS)
cells = [(*row[:3], ", ".join(map(str, row[3]))) for row in rows]
show.table(f"Which result to use (t = {t}, T = {T})", ("task", "result", "readout", "inputs that it has seen"), cells)

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# Write a function that builds the rows for a classification, of shape (B, directions * H), from `h_n`, for any number
# of layers. Check it on a ragged batch against numbers that you take from `output`.


# %% tags=["solution"]
def final_rows(h_n: np.ndarray, directions: int) -> np.ndarray:
    """The final states of the last layer, side by side."""
    return np.concatenate(list(h_n[-directions:]), axis=1)


sequences = np.arange(B)
for network in (two, both, deep):
    y, h_n = network(x, lengths=lengths)
    end = y[lengths - 1, sequences, :H]  # forward: at the last step of each sequence
    beginning = y[0, :, H:]  # reverse: at the first step; it has no columns with one direction
    final = final_rows(h_n, network.spec.num_directions)
    assert same(final, np.concatenate([end, beginning], axis=1))
    show.text(f"num_layers={network.spec.num_layers}, directions: {network.spec.num_directions}; shape {final.shape}")

# %% [markdown]
# ### Exercise 2
#
# A tagger has only one direction, but should see two more inputs than those up to its own step. Let it answer late:
# append two steps of zeros to the sequence and take `output[t + 2]` as the answer for step $t$. Show with gradients
# that this answer has seen the inputs up to $t + 2$, and none after that.

# %% tags=["solution"]
longer = np.concatenate([x, np.zeros((2, B, I))])
last = []
for step in range(T):
    dy = np.zeros_like(two(longer)[0])
    dy[step + 2] = rng.normal(size=(B, H))
    dx, _ = two.backward(dy)
    inputs_seen = [s for s in range(T) if dx[s].any()]
    assert inputs_seen == list(range(len(inputs_seen)))  # all up to the last one
    last.append(inputs_seen[-1])
assert last == [2, 3, 4, 5, 5, 5]  # T - 1 = 5 is the last input of all
show.table(
    "The last input that each answer has seen", ("answer for step", "input"), list(enumerate(last)), numbers=(0, 1)
)
