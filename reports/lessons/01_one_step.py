# %% [markdown]
# # 1. One step: what an RNNCell computes
#
# **Question.** What does an `RNNCell` compute, and why does it have two biases?
#
# **Answer.** An `RNNCell` multiplies its input and its previous state by one weight matrix each, adds the two
# products and two biases, and takes the tanh of each sum. PyTorch has two biases for compatibility with cuDNN;
# in the result they act as one, because only their sum enters it. They train differently from a single bias,
# though: each of the two receives the whole gradient, so under gradient descent their sum moves twice as far.
#
# A **recurrent network** reads a sequence one element after another and keeps a memory of what it has read. A
# **cell** is the rule for one step. It takes two things: the **input** of this step, a vector of $I$ numbers,
# and the **hidden state** left by the previous step, a vector of $H$ numbers. It returns the new hidden state,
# again $H$ numbers, one for each **hidden unit**. This page is about the cell of Elman (1990), which PyTorch
# calls `RNNCell`. A cell processes several sequences at once, a **batch** of $B$. Each sequence is one row, so
# the inputs are a matrix $x$ of $B$ rows and $I$ columns, and the states a matrix $h$ of $B$ rows and $H$
# columns.
#
# The numbers that a cell learns are its **parameters**: the **weights**, two matrices by which the input and
# the state are multiplied, and the **biases**, vectors that are added to every row. The sum before the tanh is
# the **pre-activation** $a$; tanh is a function that rises from $-1$ to $1$. With $h_{\text{prev}}$ for the
# previous state, the whole cell is
#
# $$ h = \tanh(x W_{ih}^\top + b_{ih} + h_{\text{prev}} W_{hh}^\top + b_{hh}) $$
#
# where $ih$ means "from the input to the hidden state" and $hh$ "from the hidden state to the hidden state".

# %% tags=["setup"]

import flax.linen
import jax
import numpy as np
import torch

from common import datasets
from common.backend import registry
from common.conversions.layers import to_one_bias
from common.model.layout import Weights
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from common.training.loop import train
from reports.teaching import show


def gap(a, b):
    """The largest difference between two arrays, or tensors, of the same shape."""
    a, b = (torch.as_tensor(values).detach() for values in (a, b))
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(abs(a - b).max())


def near(a, b):
    """Whether two arrays are the same up to rounding."""
    return gap(a, b) < 1e-12


# %% [markdown]
# ## One step by hand
#
# The example has $B = 2$ sequences, $I = 3$ inputs and $H = 4$ hidden units. Every number is a multiple of a
# tenth, so that you can follow the calculation with a pencil.

# %%
B, I, H = 2, 3, 4
rng, tenths = np.random.default_rng(1), [k / 10 for k in range(-9, 10) if k]
x, h_prev, W_ih = rng.choice(tenths, (B, I)), rng.choice(tenths, (B, H)), rng.choice(tenths, (H, I))
W_hh, b_ih, b_hh = rng.choice(tenths, (H, H)), rng.choice(tenths, H), rng.choice(tenths, H)
rows = [
    ("x", x.shape, "a row for each sequence, a column for each input"),
    ("h_prev", h_prev.shape, "a row for each sequence, a column for each hidden unit"),
    ("W_ih", W_ih.shape, "a row for each hidden unit, a column for each input"),
    ("W_hh", W_hh.shape, "a row for each hidden unit, a column for each unit of the previous state"),
    ("b_ih, b_hh", b_ih.shape, "a number for each hidden unit"),
]
show.table("The inputs of a step", ("Name", "Shape", "Meaning"), rows)

# %% [markdown]
# Take one number of the result: unit 0 of sequence 0. Its pre-activation has one term for each input, one for
# each unit of the previous state, and the two biases. The weights come from row 0 of each matrix, which is the
# row of unit 0.

# %%
terms = [(f"x[0, {k}] · W_ih[0, {k}]", x[0, k], W_ih[0, k]) for k in range(I)]
terms += [(f"h_prev[0, {k}] · W_hh[0, {k}]", h_prev[0, k], W_hh[0, k]) for k in range(H)]
rows = [(term, f"{u} · {v}", f"{u * v:.2f}") for term, u, v in terms]
rows += [("b_ih[0]", "", f"{b_ih[0]:.2f}"), ("b_hh[0]", "", f"{b_hh[0]:.2f}")]
total = sum(u * v for _, u, v in terms) + b_ih[0] + b_hh[0]
rows += [("the sum a[0, 0]", "", f"{total:.2f}"), ("h[0, 0] = tanh a[0, 0]", "", f"{np.tanh(total):.4f}")]
show.table("Unit 0 of sequence 0", ("Term", "Numbers", "Value"), rows, numbers=(1, 2))

# %% [markdown]
# Two matrix products do this for all units of all sequences. Because the weights of a unit form a *row*, the
# products need the transposes: `x @ W_ih.T` multiplies each row of `x` by each row of `W_ih`.

# %%
a = x @ W_ih.T + h_prev @ W_hh.T + b_ih + b_hh
h = np.tanh(a)
assert near(h[0, 0], np.tanh(total))
rows = [(n, *(f"{value:.4f}" for value in h[n])) for n in range(B)]
show.table("The new state h", ("Sequence", *(f"unit {m}" for m in range(H))), rows, numbers=range(H + 1))

# %% [markdown]
# **Rows or columns.** Papers write $W x$ for one column $x$. The numbers are the same: row $n$ of `x @ W.T` is
# `W` times row $n$ of `x`. The form with rows processes the whole batch in one product. If you forget the
# transpose, `x @ W_ih` raises an error, because the sizes do not match. But `h_prev @ W_hh` raises none,
# because `W_hh` is square: it silently gives wrong numbers.

# %%
assert near(x @ W_ih.T, np.stack([W_ih @ row for row in x]))
assert x.shape[1] != W_ih.shape[0]  # so x @ W_ih is refused
assert (h_prev @ W_hh).shape == (h_prev @ W_hh.T).shape
wrong = gap(h_prev @ W_hh, h_prev @ W_hh.T)
assert wrong > 0.1
show.text(f"`h_prev @ W_hh` has the right shape, but one of its elements is wrong by {wrong:.2f}.")

# %% [markdown]
# ## The same step in three frameworks
#
# Here are the equations of the step, each beside the line that computes it. $\phi$ stands for tanh, or for relu
# if that is chosen, and $a \leftarrow a + \dots$ means that $a$ gets a new value, as in code.

# %%
show.lines("C1", "C2", "C3")

# %% [markdown]
# A **backend** is one of the implementations, called through a common interface that takes NumPy arrays. It
# reads whole sequences, so we pass the example as sequences of one step. The backend `torch.nn` is PyTorch's
# own `RNNCell`.

# %%
spec = ModelSpec(cell="RNNCell", input_size=I, hidden_size=H)
params = {"weight_ih": W_ih, "weight_hh": W_hh, "bias_ih": b_ih, "bias_hh": b_hh}
rows = []
for name in ("numpy", "jax", "torch", "torch.nn"):
    y, (h_n,) = registry.load(name).forward(spec, params, x[None], (h_prev[None],))
    assert max(gap(y[0], h), gap(h_n[0], h)) < 1e-12
    rows.append((name, f"{gap(h_n[0], h):.1e}"))
show.table(
    "The new state compared with the one computed by hand", ("Backend", "Largest difference"), rows, numbers=(1,)
)

# %% [markdown]
# ## One bias instead of two
#
# Both biases are added to the same sum, so only $b_{ih} + b_{hh}$ matters. Many people who write their own cell
# therefore use one linear map with one bias. They put the input and the state side by side into one row $[x,
# h_{\text{prev}}]$ of $I + H$ columns, and the two matrices side by side into one:
#
# $$ h = \tanh([x, h_{\text{prev}}] W^\top + b), \quad W = [W_{ih}, W_{hh}], \quad b = b_{ih} + b_{hh} $$
#
# In PyTorch that is `tanh(Linear([x, h]))`. The next code block converts the parameters of one kind of cell
# into those of the other, and shows the cell as the project implements it, in the line marked (B1). The loop
# around that line is the subject of the next lesson, and what it keeps in `tapes` is for the backward pass.

# %%
(W, b), note = to_one_bias(Weights(W_ih, W_hh, b_ih, b_hh))
h_one = np.tanh(np.concatenate([x, h_prev], axis=1) @ W.T + b)
assert near(h_one, h)
show.text(f"The two states differ by at most {gap(h_one, h):.1e}. The conversion adds this note: *{note}*.")
show.source("numpy_impl/one_bias.py", "forward")

# %% [markdown]
# ## The gradient does not halve
#
# A **loss** is a single number that says how bad the result is; training lowers it. The **gradient** of a
# parameter holds the derivatives of the loss with respect to its elements. **Gradient descent** subtracts from
# each parameter its gradient times a small factor, the **learning rate**. Doing this once is called an
# **update**.
#
# Let some loss depend on the new state, and let $dh$ hold its derivatives with respect to the elements of $h$.
# Such a derivative, when it is given from outside, is called a **cotangent**; here it is random. The chain rule
# carries it through the tanh, whose derivative is $1 - h^2$, to the pre-activation. Write $da$ for what arrives
# there. A bias is added to every row of $a$, so its gradient $db$ is the sum of the rows of $da$. That holds
# for *both* biases.

# %%
show.lines("C4", "C7")

# %% [markdown]
# Here $\psi(h)$ is $1 - h \odot h$ for tanh, $\odot$ is the element-wise product, and $\mathbf{1}^\top da$ is
# the sum of the rows. JAX and PyTorch have no such lines, because they derive them automatically. So we ask
# PyTorch for the gradients of both kinds of cell. As the loss we take the sum of $dh \odot h$, whose derivative
# with respect to $h$ is $dh$.


# %%
class OneBiasCell(torch.nn.Module):
    """tanh(Linear([x, h])), with the weights and the bias that make it the same function as the cell above."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(I + H, H, dtype=torch.float64)
        self.linear.load_state_dict({"weight": torch.tensor(W), "bias": torch.tensor(b)})

    def forward(self, x, h):
        return torch.tanh(self.linear(torch.cat([x, h], dim=1)))


def pair():
    """PyTorch's cell with two biases and the cell with one, with the same initial parameters."""
    cell = torch.nn.RNNCell(I, H, dtype=torch.float64)
    cell.load_state_dict({name: torch.tensor(value) for name, value in params.items()})
    return cell, OneBiasCell()


# %%
dh = rng.normal(size=(B, H))
x_t, h_t, dh_t = (torch.tensor(value) for value in (x, h_prev, dh))
grads = [torch.autograd.grad((dh_t * cell(x_t, h_t)).sum(), list(cell.parameters())) for cell in pair()]
(dW_ih, dW_hh, db_ih, db_hh), (dW, db) = grads
assert near(torch.cat([dW_ih, dW_hh], dim=1), dW)
by_hand = (dh * (1 - h * h)).sum(axis=0)  # (C4) and (C7)
assert all(near(grad, by_hand) for grad in (db_ih, db_hh, db))
assert abs(by_hand).min() > 0.01
numbers = ", ".join(f"{value:.4f}" for value in by_hand)
show.text(f"All three biases, the two of one cell and the single one of the other, have the gradient {numbers}.")

# %% [markdown]
# So the gradient is not divided between the two biases: each receives all of it. An update with learning rate
# $\eta$ subtracts $\eta \, db$ from each, and therefore $2 \eta \, db$ from their sum. From a single bias it
# subtracts only $\eta \, db$. SGD in the table is gradient descent. Adam adapts the step of every number to the
# sizes of its past gradients. Because both biases have had the same gradients, it gives both the same step, and
# again their sum moves twice as far.

# %%
rows, RATE = [], 0.1
for rule, tolerance in ((torch.optim.SGD, 1e-12), (torch.optim.Adam, 1e-6)):
    two_biased, one_biased = pair()
    for cell in (two_biased, one_biased):
        optimizer = rule(cell.parameters(), lr=RATE)
        (dh_t * cell(x_t, h_t)).sum().backward()
        optimizer.step()
    sum_moved = (two_biased.bias_ih + two_biased.bias_hh).detach().numpy() - b
    one_moved = one_biased.linear.bias.detach().numpy() - b
    assert gap(sum_moved, 2 * one_moved) < tolerance
    for m in range(H):
        moves = (sum_moved[m], one_moved[m], sum_moved[m] / one_moved[m])
        rows.append((rule.__name__, m, *(f"{move:.4f}" for move in moves)))
columns = ("Rule", "Unit", "Change of the sum of two", "Change of the single bias", "Ratio")
show.table(f"After one update with learning rate {RATE}", columns, rows, numbers=range(1, 5))

# %% [markdown]
# ## What this does to training
#
# Now we compare whole training runs. The data are **windows** of a sine wave, that is, pieces of equal length;
# the network reads a window and predicts the value that follows it. The state after the last step goes through
# a linear layer, and the loss is the mean squared error of the predictions. All runs start from the same
# parameters and see the same data, once per update. For each of the two rules, the only difference is the
# number of biases.

# %%
data, ratios = datasets.load("sine"), {}
for name, rule in (("gradient descent", OptimizerSpec(lr=0.1)), ("Adam", OptimizerSpec(name="adam", lr=0.01))):
    run = RunSpec(network=data.network("RNN", hidden_size=4), optimizer=rule, epochs=50)
    with_two, with_one = (np.array(train(registry.load(k), run, data).losses) for k in ("numpy", "one-bias"))
    ratios[name] = with_one / with_two
    assert abs(ratios[name][0] - 1) < 1e-12
    assert abs(ratios[name][1:] - 1).min() > 1e-6
    losses = f"start at {with_two[0]:.4f} and end at {with_two[-1]:.4f} with two biases and {with_one[-1]:.4f} with one"
    show.text(f"Under {name} the losses {losses}.")
ranges = " and ".join(f"between {r[1:].min():.2f} and {r[1:].max():.2f} under {name}" for name, r in ratios.items())
caption, alt = "Loss with one bias over loss with two", f"The ratio is 1 before the first update, and then {ranges}."
show.plot(caption, range(run.epochs), ratios, alt=alt, x_label="updates", y_label="ratio")

# %% [markdown]
# The losses before the first update are the same, because the functions are the same. All later losses differ:
# first the biases diverge, then the gradients, then everything else. Neither run is wrong. But two programs
# with the same settings can be compared number by number only if both have the same number of biases.
#
# ## Why PyTorch has two
#
# Nothing in the mathematics requires a second bias. PyTorch has it for compatibility with cuDNN, NVIDIA's
# library for such layers, whose parameter layout has two. `SimpleCell` of Flax and `SimpleRNN` of Keras have
# one. If you carry parameters from PyTorch to one of these, add the biases. On the way back, put the one bias
# into `bias_ih` and zeros into `bias_hh`.

# %%
assert [name for name, _ in two_biased.named_parameters() if "bias" in name] == ["bias_ih", "bias_hh"]
of_flax = flax.linen.SimpleCell(H).init(jax.random.key(0), np.zeros((B, H)), np.zeros((B, I)))["params"]
assert [part for part, values in of_flax.items() if "bias" in values] == ["i"]  # none on the side of the state

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# Change *one* learning rate of the cell with a single bias so that under gradient descent it trains exactly
# like the cell with two biases. Then demonstrate it: start from `pair()`, read a random sequence of five steps,
# take the mean squared error of the last state against a random target, and compare the losses of 30 updates.
# (`torch.optim.SGD` accepts a list of parameter groups, each with its own learning rate.)

# %% tags=["solution"]
# The rate of the single bias is doubled; that of the weight stays the same.
xs, target = torch.tensor(rng.normal(size=(5, B, I))), torch.tensor(rng.uniform(-1, 1, (B, H)))


def losses_of(cell, groups):
    optimizer, losses = torch.optim.SGD(groups, lr=RATE), []
    for _ in range(30):
        state = torch.zeros(B, H, dtype=torch.float64)
        for x_step in xs:
            state = cell(x_step, state)
        losses.append(((state - target) ** 2).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    return torch.stack(losses)


gaps = {}
for factor in (1, 2):
    two_biased, one_biased = pair()
    weight, bias = one_biased.parameters()
    with_two = losses_of(two_biased, [{"params": two_biased.parameters()}])
    with_one = losses_of(one_biased, [{"params": [weight]}, {"params": [bias], "lr": factor * RATE}])
    gaps[factor] = gap(with_two, with_one)
assert gaps[1] > 1e-4
assert gaps[2] < 1e-12
rows = [(f"{factor} times that of the weight", f"{value:.1e}") for factor, value in gaps.items()]
show.table("Losses of 30 updates", ("Rate of the single bias", "Largest difference"), rows, numbers=(1,))

# %% [markdown]
# ### Exercise 2
#
# An `RNNCell` can use relu, $\max(a, 0)$, instead of tanh, and it can be built without biases. Write that step
# in NumPy, and check it against `torch.nn.RNNCell(I, H, bias=False, nonlinearity="relu")`. Use inputs ten times
# as large as above. Between which limits do the states now lie, and between which does tanh keep them?

# %% tags=["solution"]
# relu has no upper limit, and is exactly 0 where the sum is below 0; tanh stays within -1 and 1.
large = 10 * x
plain = large @ W_ih.T + h_prev @ W_hh.T
h_relu = np.maximum(plain, 0)
relu_cell = torch.nn.RNNCell(I, H, bias=False, nonlinearity="relu", dtype=torch.float64)
relu_cell.load_state_dict({"weight_ih": torch.tensor(W_ih), "weight_hh": torch.tensor(W_hh)})
assert near(relu_cell(torch.tensor(large), h_t), h_relu)
assert (h_relu.min(), h_relu.max() > 1) == (0, True)
assert abs(np.tanh(plain)).max() <= 1 < abs(plain).max()
show.text(f"relu: from {h_relu.min():g} to {h_relu.max():.2f}. tanh: within -1 and 1, whatever the sums.")
