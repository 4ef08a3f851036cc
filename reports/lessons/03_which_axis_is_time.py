# %% [markdown]
# # 3. Which axis is time?
#
# **Question.** Which axis of an array is time, what does `batch_first` change, and what does a network compute when its
# input has the axes in the wrong order?
#
# **Answer.** The first axis of the input is time; with `batch_first=True` it is the second, and this flag permutes the
# axes of the input and of the output, but never those of the states. If a network gets its axes in the wrong order, and
# no initial state, it raises no error: it carries its state from one sequence to the next, so the sequences of a batch
# influence one another, while the steps of a sequence no longer do. The gradient of one output with respect to every
# input shows which axis a network treats as time, whatever the variables are called.
#
# A **recurrent network** reads a sequence step by step. Its **hidden state**, a row of $H$ numbers, is passed from each
# step to the next; the state before the first step is $h_0$, often zero. Several sequences that are read at once,
# without any connection between them, form a **batch**. So an input has three axes: $T$ steps, $B$ sequences, and $I$
# numbers (**features**) at each step. The **output** $y$ holds the states after all steps, and `h_n` the state after
# the last one. The network here is that of Elman (1990): $h_t = \tanh(x_t W_{ih}^\top + b_{ih} + h_{t-1} W_{hh}^\top +
# b_{hh})$.

# %% tags=["setup"]
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx

import jax_impl
import numpy_impl
import torch_impl
from common import datasets
from common.backend import registry
from common.errors import InvalidInput
from common.model.layout import split_network
from common.training import settings
from common.training.loop import train
from reports.teaching import show

rng = np.random.default_rng(3)
T, B, I, H = 5, 3, 2, 4


def same(a: Any, b: Any) -> bool:
    """Equal in shape, and in every number up to rounding."""
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-11, atol=1e-13)


def only(array: Any, place: Any) -> bool:
    """Whether an array is nonzero at one place (an index) and zero everywhere else."""
    expected = np.zeros(np.shape(array), bool)
    expected[place] = True
    return np.array_equal(array != 0, expected)


weights = numpy_impl.RNN(I, H, dtype="float64", seed=1).state_dict()
tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
LAYERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "numpy_impl.RNN": (numpy_impl.RNN, np.copy, {"dtype": "float64"}),
    "jax_impl.RNN": (jax_impl.RNN, jax.numpy.array, {"dtype": "float64", "rngs": nnx.Rngs(0)}),
    "torch_impl.RNN": (torch_impl.RNN, torch.from_numpy, {"dtype": torch.float64}),
    "torch.nn.RNN": (torch.nn.RNN, torch.from_numpy, {"dtype": torch.float64}),
}


def called(name: str, batch_first: bool, x: np.ndarray, h_0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """output and h_n of a layer with the weights above, as NumPy arrays."""
    kind, native, options = LAYERS[name]
    with jax.enable_x64(True), torch.no_grad():
        layer = kind(I, H, batch_first=batch_first, **options)
        layer.load_state_dict(tensors)
        output, h_n = layer(native(x), native(h_0))
        return np.asarray(output), np.asarray(h_n)


# %% [markdown]
# ## What `batch_first` permutes
#
# Here are the same numbers in two orders: (T, B, I), time first, and (B, T, I), batch first. `swapaxes` exchanges two
# axes and keeps every number with its step and its sequence. `reshape` to the same shape does not: it fills the new
# shape row by row.

# %%
x = rng.normal(size=(T, B, I))
x_batch_first = x.swapaxes(0, 1)
h_0 = rng.normal(size=(1, B, H))
assert same(x_batch_first[2, 4], x[4, 2])
assert not same(x.reshape(B, T, I), x_batch_first)

# %% [markdown]
# A **layer** is a network that reads the sequence once; layers can be stacked, but here there is only one. We compare
# the layers of four implementations, all with the same weights, with and without the flag. `h_0` and `h_n` always have
# the shape (layers, B, H): they have no time axis, so there is nothing to permute. In this project the flag is handled
# by the two small functions below the table, which surround a core that always has time first. One function converts
# inputs on the way in, the other converts outputs on the way out, and states are left alone.

# %%
rows = []
for name in LAYERS:
    y, h_n = called(name, False, x, h_0)
    y_flag, h_n_flag = called(name, True, x_batch_first, h_0)
    assert same(y_flag, y.swapaxes(0, 1))
    assert same(h_n_flag, h_n)
    rows.append((name, "False", x.shape, y.shape, h_n.shape))
    rows.append((name, "True", x_batch_first.shape, y_flag.shape, h_n_flag.shape))
show.table(f"T = {T}, B = {B}, I = {I}, H = {H}", ("layer", "batch_first", "input", "output", "h_n"), rows)
show.source("common/backend/arrangement.py", "Arrangement.enter")
show.source("common/backend/arrangement.py", "Arrangement.leave")

# %% [markdown]
# ## An input without a batch
#
# A single sequence may be passed with the shape (T, I). The output then has the shape (T, H), `h_n` has (layers, H),
# and `batch_first` changes nothing. There is a trap: *one step* of a batch, (B, I), has two axes as well, and a layer
# treats it as a sequence of B steps.

# %%
rnn = numpy_impl.RNN(I, H, dtype="float64", seed=1)
rnn_batch_first = numpy_impl.RNN(I, H, batch_first=True, dtype="float64", seed=1)
y_alone, h_alone = rnn(x[:, 2])
assert h_alone.shape == (1, H)
assert same(y_alone, rnn(x)[0][:, 2])
assert same(y_alone, rnn_batch_first(x[:, 2])[0])
y_trap, y_step = rnn(x[0])[0], rnn(x[:1])[0][0]  # step 0 as (B, I), and as (1, B, I)
assert only((abs(y_trap - y_step) > 1e-9).any(axis=1), np.s_[1:])  # only the rows of sequence 0 agree

# %% [markdown]
# ## The axes in the wrong order
#
# Now for a common mistake: data in the order (B, T, I) is passed to a layer without `batch_first`. The last axis fits,
# so no error is raised, and the output has the expected shape, (B, T, H). Only `h_n` looks odd. The two lines that
# compute the states, shown below the results, explain what happened: the product does not mix rows, and the loop runs
# over the first axis, whatever it stands for, passing the state from one index to the next. ($a_x$ is the contribution
# of the input to the pre-activation, a hat means that the first two axes are merged into one, and $\phi$ is tanh.)

# %%
right, h_right = rnn_batch_first(x_batch_first)
wrong, h_wrong = rnn(x_batch_first)
assert (h_wrong.shape, h_right.shape) == ((1, T, H), (1, B, H))
agree = np.isclose(wrong, right, rtol=1e-11).all(axis=2)
assert only(agree, (0, 0))
show.text(
    f"{agree.sum()} of {agree.size} rows of numbers agrees: step 0 of sequence 0, which is read first in either order."
)
show.text(f"Both outputs are {wrong.shape}, but `h_n` is {h_wrong.shape} instead of {h_right.shape}.")
show.lines("E1", "E3")

# %% [markdown]
# Gradients show it without any reading of code. A **cotangent** `dy` is an array with the shape of the output; the
# backward pass gives the derivatives of `sum(dy * y)`. Let `dy` be zero except at one place of the output: then every
# input with a nonzero derivative influences that place.


# %%
def influence(network: Any, x: np.ndarray, place: tuple[int, int], cotangent: np.ndarray) -> np.ndarray:
    """|d (cotangent * output at a place) / d input|, summed over the features."""
    y, _ = network(x)
    dy = np.zeros_like(y)
    dy[place] = cotangent
    return abs(network.backward(dy)[0]).sum(axis=2)


cotangent = rng.normal(size=H)
reach_right = influence(rnn_batch_first, x_batch_first, (1, 2), cotangent)
reach_wrong = influence(rnn, x_batch_first, (1, 2), cotangent)
assert only(reach_right, np.s_[1, :3])  # sequence 1, steps 0 to 2
assert only(reach_wrong, np.s_[:2, 2])  # step 2 of the sequences 0 and 1
cases = (("with batch_first", reach_right), ("without", reach_wrong))
rows = [(name, f"sequence {b}", *(f"{v:.2g}" for v in row)) for name, reach in cases for b, row in enumerate(reach)]
columns = ("layer", "input of", *(f"step {t}" for t in range(T)))
show.table("What influences the output of sequence 1 at step 2", columns, rows, numbers=range(2, 2 + T))

# %% [markdown]
# With the flag, the state comes from the earlier steps of the same sequence. Without it, the state comes from the same
# step of the sequences earlier in the batch, so the answer for a sequence depends on its neighbours. Two checks show
# this without gradients: change sequence 0 and look at sequence 1, and put the sequences in a different order.

# %%
changed = x_batch_first.copy()
changed[0] += 1
moved = abs(rnn(changed)[0][1] - wrong[1]).max()
assert moved > 1e-3
assert same(rnn_batch_first(changed)[0][1], right[1])
order = [2, 0, 1]
assert same(rnn_batch_first(x_batch_first[order])[0], right[order])
assert not same(rnn(x_batch_first[order])[0], wrong[order])
show.text(
    f"When sequence 0 changes, the wrong output of sequence 1 moves by up to {moved:.2f}; the right one stays the same."
)

# %% [markdown]
# One habit catches this mistake: pass the initial state explicitly. Its batch axis no longer fits, unless B happens to
# equal T. In this project the error message names the likely cause.

# %%
with np.testing.assert_raises(InvalidInput) as refused:
    rnn(x_batch_first, h_0)
assert "batch_first=True" in str(refused.exception)
show.output("The error", refused.exception)

# %% [markdown]
# ## First example from an article: a sine wave cut into windows
#
# The task is to predict the next value of a sine wave. The series is cut into overlapping **windows**, the rows of one
# array $X$: row $w$ has the values $w, w + 1, \dots$ of the series, and its target is the value that follows. The task
# `sine` of this project offers two variants, which arrange the axes of this array differently. In the variant `windows`
# the array is transposed, so that time runs inside a window. In the variant `article` a time-first layer gets the array
# as it is, as in the article from which it is taken.

# %%
options = {"points_per_period": 25, "periods": 2, "window": 8}
sine = {variant: datasets.load("sine", variant, **options) for variant in ("windows", "article")}
inside, across = sine["windows"].train.x, sine["article"].train.x
assert same(across, inside.swapaxes(0, 1))
count, window = across.shape[:2]
assert same(across[1:, 0], across[:-1, 1])  # the next window begins one value later
rows = [
    ("windows", inside.shape, "the place in a window", f"{count} windows", "from value to value of one window"),
    ("article", across.shape, "the number of the window", f"{window} places", "from window to window"),
]
show.table("One array, two variants", ("variant", "input", "taken as time", "taken as batch", "the state goes"), rows)

# %% [markdown]
# A linear layer, the **readout**, turns the $H$ numbers of a state into one number. In `windows` it sees the last step
# of every window, in `article` the last sequence at every step. We train both. The **loss** is the mean squared error
# (MSE), an **epoch** is one pass over the data, and the error to beat is that of a simple guess: the next value equals
# the previous one.

# %%
networks, readouts, scores = {}, {}, {}
wanted = {"hidden_size": 6, "optimizer": "adam", "lr": 0.02, "epochs": 120}
for variant, data in sine.items():
    result = train(registry.load("numpy"), settings.run_spec(wanted, data, "RNN"), data)
    parts, scores[variant] = split_network(result.params), result.score
    networks[variant] = numpy_impl.RNN(1, 6, dtype="float64")
    networks[variant].load_state_dict(parts["rnn"])
    readouts[variant] = parts["readout"]["weight"][0]
guess = sine["windows"].scoring.baseline.value
assert all(score < guess / 2 for score in scores.values())

# %% [markdown]
# Both networks learn, so the loss does not reveal the difference. The gradient of the last prediction, which is at the
# last index of both axes in either variant, does.

# %%
reach = {name: influence(networks[name], sine[name].train.x, (-1, -1), readouts[name]) for name in sine}
assert only(reach["windows"], np.s_[:, -1])  # the last window
assert only(reach["article"], np.s_[:, -1])  # the last place of every window
ends = {name: len(reach[name]) for name in sine}
rows = [(name, ends[name], f"{scores[name]:.2g}", f"{guess:.2g}") for name in sine]
columns = ("variant", "inputs that influence the last prediction", "MSE after training", "MSE of the guess")
show.table("What the last prediction depends on", columns, rows, numbers=(1, 2, 3))
curves = {name: np.append(np.zeros(count + window - 1 - ends[name]), reach[name][:, -1]) for name in sine}
alt = f"Nonzero at the last {ends['windows']} values of the series (windows), at the last {ends['article']} (article)."
caption = "|Gradient| of the last prediction, by position in the series"
show.plot(caption, range(count + window - 1), curves, alt=alt, x_label="position", log=True)
# The article's network gives the same result as a network that runs along the series, without windows.
series = np.append(inside[:, 0, 0], inside[-1, 1:, 0])
assert same(networks["article"](across)[0][:, -1], networks["article"](series[window - 1 :, None])[0])

# %% [markdown]
# In `windows` the last index of the second axis is one window. In `article` it is the last value of every window:
# neighbouring windows have become a sequence. A prediction reads only the last value of its own window; the state
# carries the last values of the windows before it. These values are the series itself, so the article's network runs
# along the series as if there were no windows. The other seven sequences of its batch are computed, but never used.
#
# ## Second example from an article: a whole series as one vector
#
# The task `sum` asks for the sum of a series of small integers. The variant `sequence` passes one number at each step.
# The variant `vector`, again taken from an article, pads every series with zeros and passes it as the *features of a
# single step*: T = 1. A state acts between steps, but here there is only one step.

# %%
short = {"train": 6, "validation": 2, "test": 2, "min_length": 3, "max_length": 9}
steps = datasets.load("sum", "sequence", **short).train
vector = datasets.load("sum", "vector", **short).train
assert steps.lengths is not None
for b, length in enumerate(steps.lengths):
    assert same(vector.x[0, b], np.pad(steps.x[:length, b, 0], (0, 9 - length)))
show.text(f"The same series: `sequence` is {steps.x.shape} with lengths {steps.lengths}, `vector` is {vector.x.shape}.")

# %% [markdown]
# With one step and a zero state, $h_1 = \tanh(x_1 W_{ih}^\top + b_{ih} + b_{hh})$. This is a **feed-forward layer**: a
# linear map and a tanh. The gradient of $W_{hh}$ has the state before each step as a factor, and that state is zero
# here, so $W_{hh}$ never learns. ($da$ is the gradient of the pre-activation, the sum inside the tanh.)

# %%
show.lines("E12")
norms: dict[str, dict[str, float]] = {}
for variant, x_sum, lengths in (("sequence", steps.x, steps.lengths), ("vector", vector.x, None)):
    network = numpy_impl.RNN(x_sum.shape[2], H, dtype="float64", seed=2)
    y_sum, h_sum = network(x_sum, lengths=lengths)
    network.backward(np.zeros_like(y_sum), rng.normal(size=h_sum.shape))  # a gradient for the last states only
    norms[variant] = {name: float(np.linalg.norm(value)) for name, value in network.grads.items()}
    linear = x_sum @ network.weight_ih_l0.T + network.bias_ih_l0 + network.bias_hh_l0
    assert same(y_sum, np.tanh(linear)) == (variant == "vector")
assert [name for name, norm in norms["vector"].items() if norm == 0] == ["weight_hh_l0"]
assert min(norms["sequence"].values()) > 0
assert network.weight_ih_l0.shape == (H, vector.x.shape[2])
rows = [(name, *(f"{norms[variant][name]:.3g}" for variant in norms)) for name in norms["vector"]]
show.table("Size (Euclidean norm) of the gradients", ("gradient of", "sequence", "vector"), rows, numbers=(1, 2))

# %% [markdown]
# What remains is a network without recurrence. It has one column of $W_{ih}$ for every position in the series.
#
# ## Exercises
#
# ### Exercise 1
#
# A recorder stores measurements in the order (sensors, sequences, steps), here (I, B, T). Bring them into the order for
# a layer with `batch_first`, and into the order for a layer without it. Show that both give the same result, and that
# `reshape` does not.

# %% tags=["solution"]
recorded = rng.normal(size=(I, B, T))
for_batch_first = recorded.transpose(1, 2, 0)  # the new axes 0, 1, 2 are the old axes 1, 2, 0
for_time_first = recorded.transpose(2, 1, 0)
assert all(for_time_first[t, b, i] == recorded[i, b, t] for i, b, t in np.ndindex(I, B, T))
right, wrong = rnn_batch_first(for_batch_first)[0], rnn_batch_first(recorded.reshape(B, T, I))[0]
assert same(right, rnn(for_time_first)[0].swapaxes(0, 1))
assert not same(right, wrong)
show.text(
    f"After `reshape` the output has the shape {wrong.shape}, but it differs by up to {abs(wrong - right).max():.2f}."
)

# %% [markdown]
# ### Exercise 2
#
# Write a function that determines from gradients alone which axis of its input a PyTorch network treats as time. Try it
# on `torch.nn.RNN` and on `torch.nn.LSTM` (another kind of cell, called in the same way), with and without
# `batch_first`.


# %% tags=["solution"]
def axis_of_time(layer: torch.nn.Module, features: int) -> int:
    """0 or 1. The output at (1, 1) must depend either on the input at (0, 1) or on the input at (1, 0)."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, features))).requires_grad_()
    output, _ = layer(x)
    output[1, 1].sum().backward()
    assert x.grad is not None
    along = [bool(x.grad[0, 1].any()), bool(x.grad[1, 0].any())]
    assert sum(along) == 1  # the state flows along exactly one axis
    return along.index(True)


torch.manual_seed(0)
for kind, flag in ((torch.nn.RNN, False), (torch.nn.RNN, True), (torch.nn.LSTM, False), (torch.nn.LSTM, True)):
    axis = axis_of_time(kind(I, H, batch_first=flag, dtype=torch.float64), I)
    assert axis == int(flag)
    show.text(f"`torch.nn.{kind.__name__}` with `batch_first={flag}`: time is axis {axis}.")
