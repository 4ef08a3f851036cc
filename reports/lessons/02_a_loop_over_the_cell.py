# %% [markdown]
# # 2. A loop over the cell
#
# **Question.** How do you build a `MyRNN` from matrix products and a `MyRNNCell`, and which of its results do you want,
# `output` or `h_n`?
#
# **Answer.** A `MyRNNCell` is two matrix products and a tanh, and a `MyRNN` is a loop that passes the state of each
# step on to the next. `output` holds the state after every step and `h_n` the last state, so with one layer, one
# direction and sequences of equal length, `output[-1]` is `h_n[0]`. Use `output` if you need an answer at every step
# and `h_n` if you need one answer for each sequence, especially when the sequences differ in length.
#
# A **recurrent network** reads a sequence in **steps** and keeps a **hidden state**, a vector of $H$ numbers, which is
# its memory of what it has read. The **cell** is the rule for one step: from the input of the step, $I$ numbers, and
# the state before it, it computes the state after it. The cell of Elman (1990) is
#
# $$ h_t = \tanh(x_t W_{ih}^\top + b_{ih} + h_{t-1} W_{hh}^\top + b_{hh}) $$
#
# Here $x_t$ is the input of step $t$, with one row for each sequence of a **batch** of $B$, so its shape is $(B, I)$,
# and $h_t$ is the state after step $t$, of shape $(B, H)$. $W_{ih}$ and $W_{hh}$ are the **weights** and $b_{ih}$ and
# $b_{hh}$ the **biases**; together they are the **parameters**, the numbers that are learnt. The initial state, $h_0$,
# is given, and is usually zero. All $T$ inputs together are one array of shape $(T, B, I)$, with time first.
#
# We go from a matrix product to a whole layer in four stages. At each stage we replace our part with PyTorch's own,
# give it the same parameters, and check that the numbers are the same.

# %% tags=["setup"]
import jax
import numpy as np
import torch
from flax import nnx
from torch import nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import jax_impl
import numpy_impl
import torch_impl
from reports.teaching import show

DOUBLE = torch.float64


def gap(a, b):
    """The largest difference between two arrays, or tensors, of the same shape."""
    a, b = (np.asarray(v.detach() if isinstance(v, torch.Tensor) else v) for v in (a, b))
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(abs(a - b).max())


def near(a, b):
    """Whether two arrays are the same up to rounding."""
    return gap(a, b) < 1e-12


# %% [markdown]
# ## Stage 0: products and a tanh
#
# The example has $T = 9$ steps, $B = 3$ sequences, $I = 2$ inputs and $H = 4$ hidden units. The parameters are taken
# from PyTorch's `RNNCell`. One step is one line of code, and its result already equals that of PyTorch's cell.

# %%
T, B, I, H = 9, 3, 2, 4
torch.manual_seed(0)
x, h_0 = torch.randn(T, B, I, dtype=DOUBLE), torch.randn(B, H, dtype=DOUBLE)
their_cell = nn.RNNCell(I, H, dtype=DOUBLE)
params = their_cell.state_dict()
W_ih, W_hh, b_ih, b_hh = params.values()
h_1 = torch.tanh(x[0] @ W_ih.T + b_ih + h_0 @ W_hh.T + b_hh)
assert near(h_1, their_cell(x[0], h_0))
show.table("The parameters", ("Name", "Shape"), [(name, tuple(value.shape)) for name, value in params.items()])

# %% [markdown]
# ## Stage 1: MyRNNCell
#
# A PyTorch **module** is an object that holds its parameters and is called like a function. `linear(x, W, b)` is `x @
# W.T + b`. Because our cell names its parameters as `nn.RNNCell` does, it can load the parameters of PyTorch's cell.


# %%
class MyRNNCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size, dtype=DOUBLE))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size, dtype=DOUBLE))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size, dtype=DOUBLE))
        self.bias_hh = nn.Parameter(torch.empty(hidden_size, dtype=DOUBLE))

    def forward(self, x, h):
        return torch.tanh(linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh))


my_cell = MyRNNCell(I, H)
my_cell.load_state_dict(params)
assert near(my_cell(x[0], h_0), their_cell(x[0], h_0))

# %% [markdown]
# ## Stage 2: MyRNN
#
# The loop gives the cell the inputs of one step after another, each time together with the state left by the previous
# step. It uses the same parameters at every step. It returns two things: all states as one array, `output`, of shape
# $(T, B, H)$, and the last state alone, `h_n`. In PyTorch, `h_n` has a first axis for layers and directions, which are
# explained below; here there is one of each.


# %%
class MyRNN(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x, h):
        states = []
        for x_t in x:
            h = self.cell(x_t, h)
            states.append(h)
        return torch.stack(states), h[None]


output, h_n = MyRNN(my_cell)(x, h_0)
assert near(output[0], h_1)
show.text(f"`output` has the shape {tuple(output.shape)}, `h_n` has the shape {tuple(h_n.shape)}.")

# %% [markdown]
# Nothing in `MyRNN` depends on what is inside the cell. So PyTorch's cell fits into our loop, and must give the same
# result.

# %%
output_2, h_n_2 = MyRNN(their_cell)(x, h_0)
assert near(output_2, output)
assert near(h_n_2, h_n)

# %% [markdown]
# ## Stage 3: nn.RNN
#
# Now the loop is PyTorch's too. `nn.RNN` can have several layers, so the names of its parameters end in `_l0` for layer
# 0, and its initial state has the same first axis as `h_n`.

# %%
their_rnn = nn.RNN(I, H, dtype=DOUBLE)
their_rnn.load_state_dict({f"{name}_l0": value for name, value in params.items()})
output_3, h_n_3 = their_rnn(x, h_0[None])
assert near(output_3, output)
assert near(h_n_3, h_n)

# %% [markdown]
# Next we load the same parameters into a network in NumPy, one in JAX, and one in PyTorch that uses none of the
# recurrent layers of `torch.nn`. Each of the three classes is called `RNN` and loads the `state_dict` of `nn.RNN`,
# which holds its parameters by name.

# %%
state_dict = their_rnn.state_dict()
in_numpy = numpy_impl.RNN(I, H, dtype="float64")
in_torch = torch_impl.RNN(I, H, dtype=DOUBLE)
with jax.enable_x64(True):  # without this, JAX computes in 32 bits
    in_jax = jax_impl.RNN(I, H, dtype="float64", rngs=nnx.Rngs(0))
    in_jax.load_state_dict(state_dict)
    results: dict[str, tuple] = {"jax_impl.RNN": in_jax(x.numpy(), h_0[None].numpy())}
in_numpy.load_state_dict(state_dict)
in_torch.load_state_dict(state_dict)
results["numpy_impl.RNN"] = in_numpy(x.numpy(), h_0[None].numpy())
results["torch_impl.RNN"] = in_torch(x, h_0[None])
results |= {"MyRNN(nn.RNNCell)": (output_2, h_n_2), "nn.RNN": (output_3, h_n_3)}
for its_output, its_h_n in results.values():
    assert near(its_output, output)
    assert near(its_h_n, h_n)
rows = [(name, f"{gap(y, output):.1e}", f"{gap(last, h_n):.1e}") for name, (y, last) in results.items()]
show.table("Largest difference from MyRNN(MyRNNCell)", ("Network", "output", "h_n"), rows, numbers=(1, 2))

# %% [markdown]
# The project contains the loop of `MyRNN` three times. The NumPy version keeps in `tapes` what the backward pass needs.
# `lax.scan` is the way to write a loop in JAX: it calls `body` for every $x_t$, passes the first of the two returned
# values on to the next call, and stacks the second values. The PyTorch version is the loop above. (`valid`, `freezing`,
# `entering` and `frozen` are for sequences of different lengths, which are explained below.)

# %%
show.source("numpy_impl/unroll.py", "forward")
show.source("jax_impl/stack.py", "unroll")
show.source("torch_impl/stack.py", "unroll")

# %% [markdown]
# ## One product can leave the loop
#
# Of the two products of a step, only the product with the state must wait for the previous step. The other one needs
# only the inputs, so it can be computed for all steps at once, before the loop. $\hat x$ is the input with the axes of
# time and batch merged into one axis of $T B$ rows, and $a_x$ is the contribution of the input to the pre-activations.
# The NumPy code merges the axes explicitly; in the other two, `@` does it. $\phi$ is tanh here, and `torch.addmm(a, h,
# W)` is `a + h @ W`.

# %%
show.lines("E1", "E2", "E3")

# %%
a_x = (x.reshape(T * B, I) @ W_ih.T).reshape(T, B, H) + (b_ih + b_hh)
h, states = h_0, []
for t in range(T):
    h = torch.tanh(a_x[t] + h @ W_hh.T)
    states.append(h)
hoisted = torch.stack(states)
assert near(hoisted, output)
show.text(
    f"{T + 1} matrix products instead of {2 * T}, and the same numbers up to rounding: "
    f"the largest difference is {gap(hoisted, output):.1e}."
)

# %% [markdown]
# The numbers need not be the same bit for bit: the biases are added in a different order, and sums of rounded numbers
# depend on the order of their terms.
#
# ## output or h_n?
#
# With one layer, one direction and sequences of full length the choice makes no difference, because both contain the
# last state.

# %%
assert torch.equal(output_3[-1], h_n_3[0])
assert not near(output_3[0], h_n_3[0])

# %% [markdown]
# **Sequences of different lengths.** A batch is one array, so shorter sequences are filled up at the end. The values
# filled in are the **padding**, and such a batch is called **ragged**. In PyTorch, `pack_padded_sequence` passes on the
# lengths; the classes of this project take them as `lengths=`. Then `h_n` has the state of each sequence after its
# *own* last step, and `output` is zero after that step. So `output[-1]` is zero for every sequence that ended earlier.

# %%
lengths = torch.tensor([9, 6, 3])
packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
ragged, last = their_rnn(packed, h_0[None])
ragged, _ = pad_packed_sequence(ragged, total_length=T)
for n, length in enumerate(lengths.tolist()):
    assert torch.equal(ragged[length - 1, n], last[0, n])
    assert not ragged[length:, n].any()
    assert near(ragged[:length, n], output[:length, n])
assert [near(ragged[-1, n], last[0, n]) for n in range(B)] == [True, False, False]
numpy_ragged, numpy_last = in_numpy(x.numpy(), h_0[None].numpy(), lengths=lengths.numpy())
assert near(numpy_ragged, ragged)
assert near(numpy_last, last)
rows = [(n, int(lengths[n]), f"{ragged[-1, n, 0]:.4f}", f"{last[0, n, 0]:.4f}") for n in range(B)]
show.table("Unit 0 at the end", ("Sequence", "Length", "output[-1]", "h_n[0]"), rows, numbers=range(4))

# %%
curves = {f"sequence {n}, length {lengths[n]}": ragged[:, n, 0].detach().numpy() for n in range(B)}
ends = ", ".join(f"{last[0, n, 0]:.2f} after step {lengths[n]}" for n in range(B))
alt = f"Unit 0 of the three sequences ends at {ends}; after the end of a sequence its output is 0."
show.plot("The output of a ragged batch", range(1, T + 1), curves, alt=alt, x_label="step", y_label="unit 0")

# %% [markdown]
# A loop that does not know the lengths reads on into the padding. Its states up to the end of a sequence are right, but
# its last state is wrong, because it has also read the padding. No error is raised.

# %%
wrong = [gap(h_n[0, n], last[0, n]) for n in range(B)]
assert wrong[0] < 1e-12
assert min(wrong[1:]) > 1e-3
show.text("Largest errors of the three: " + ", ".join(f"{value:.2f}" for value in wrong) + ".")

# %% [markdown]
# **Layers and directions.** A second layer reads the `output` of the first, and the network's `output` is that of the
# last layer. With `bidirectional=True` each layer also reads the sequence from its end to its beginning, and the last
# axis of `output` holds both directions side by side. `h_n` has one entry for each layer and direction. At the last
# step of the sequence, the reverse direction has read only one element. Its state after the whole sequence is in
# `output[0]` and in `h_n[-1]`.

# %%
deep = nn.RNN(I, H, num_layers=2, bidirectional=True, dtype=DOUBLE)
y, final = deep(x)
assert y.shape == (T, B, 2 * H)
assert final.shape == (4, B, H)  # layer 0 forward, layer 0 reverse, layer 1 forward, layer 1 reverse
assert torch.equal(final[2], y[-1, :, :H])
assert torch.equal(final[3], y[0, :, H:])
assert not near(final[0], y[-1, :, :H])
both = nn.RNN(I, H, bidirectional=True, dtype=DOUBLE)
(y, final), (y_of_last, final_of_last) = both(x), both(x * (torch.arange(T) == T - 1)[:, None, None])
assert near(y[-1, :, H:], y_of_last[-1, :, H:])  # although all inputs except the last were erased
assert not near(final[-1], final_of_last[-1])

# %% [markdown]
# This gives the following choice.

# %%
rows = [
    ("an answer at every step, such as the next letter", "output"),
    ("one answer for each sequence, such as the language of a name", "h_n[0]"),
    ("the same, with several layers", "h_n[-1]"),
    ("the same, with two directions", "h_n[-2] and h_n[-1] side by side"),
    ("the initial state of another network, or of the next piece of the sequence", "all of h_n"),
    ("the input of another layer", "output"),
]
show.table("Which result to use", ("You need", "Use"), rows)

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# Cut the sequence into its first four steps and the rest. Run `MyRNN` on the two pieces so that together they give the
# same `output` as the whole sequence. What goes wrong if the second piece starts from zero, and at which steps?

# %% tags=["solution"]
# The second piece starts from the state in which the first piece ended: its h_n, without the first axis.
rnn = MyRNN(my_cell)
first, carried = rnn(x[:4], h_0)
second, end = rnn(x[4:], carried[0])
assert near(torch.cat([first, second]), output)
assert near(end, h_n)
# If it starts from zero, every later step is wrong, because each state depends on all states before it.
forgetful, _ = rnn(x[4:], torch.zeros_like(h_0))
errors = [gap(*states) for states in zip(forgetful, output[4:], strict=True)]
assert min(errors) > 1e-6
rows = [(step, f"{error:.4f}") for step, error in enumerate(errors, start=5)]
show.table("The second piece, started from zero", ("Step", "Largest error of the state"), rows, numbers=(0, 1))

# %% [markdown]
# ### Exercise 2
#
# Write `reverse(cell, x, h)`, which reads the sequence from its end to its beginning and returns the states in the
# order of the inputs. Check it against the reverse half of `both`, whose parameters for that direction end in
# `_l0_reverse`.


# %% tags=["solution"]
# Reverse the inputs, run the loop, and reverse the states.
def reverse(cell, x, h):
    states, last = MyRNN(cell)(x.flip(0), h)
    return states.flip(0), last


backward_cell = MyRNNCell(I, H)
backward_cell.load_state_dict({name: both.state_dict()[f"{name}_l0_reverse"] for name in params})
y, final = both(x, torch.stack([h_0, h_0]))
turned, at_beginning = reverse(backward_cell, x, h_0)
assert near(turned, y[:, :, H:])
assert near(at_beginning[0], final[1])
assert not near(turned.flip(0), y[:, :, H:])
show.text(f"The reverse half differs from ours by at most {gap(turned, y[:, :, H:]):.1e}.")
