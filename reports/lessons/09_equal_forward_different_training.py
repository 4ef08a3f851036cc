# %% [markdown]
# # 9. Equal forward, different training
#
# **Question.** If two implementations give the same outputs for the same weights, why do they train differently?
#
# **Answer.** The outputs are only the first stage of an update: the number of parameters that share a gradient, the
# clipping, the rule of the optimiser and the dropout masks can all differ even when the outputs agree. Even if all of
# these are equal, sums taken in a different order round differently, and training can amplify that difference. To
# find the cause, compare the stages of one update in order, starting from the same weights and the same data, and
# stop where they first differ.
#
# Training repeats an **update**: the **forward pass** computes the outputs and the **loss**, the number that training
# makes small; the **backward pass** computes the **gradient** of the loss for every **parameter** (a weight or a
# bias); the **optimiser** moves the parameters. In **gradient descent** the gradient of each parameter, times the
# **learning rate**, is subtracted from it. The network is a plain recurrent network (Elman 1990): at every step it
# computes a new **hidden state**, a row of numbers for each sequence, from the input and the previous state. A linear
# layer computes the prediction from the last state. The task is to predict the next value of a sine wave. "Relative"
# means divided by the size of what is compared.

# %% tags=["setup"]
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from common import datasets
from common.backend import registry
from common.backend.contract import Batch
from common.model.initial import initial_network, initial_parameters
from common.model.masks import dropout_masks
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from jax_impl.native import precision, to_numpy
from numpy_impl import optim
from reports.teaching import show

wave = datasets.load("sine", "windows", points_per_period=40, window=10).train
rng = np.random.default_rng(9)


def plan(dtype="float64", inputs=1, hidden=8, updates=60, **optimizer):
    """A run: an Elman network whose readout gives one value, and an optimiser."""
    network = NetworkSpec(
        model=ModelSpec(cell="RNN", input_size=inputs, hidden_size=hidden, dtype=dtype), readout_size=1
    )
    return RunSpec(network=network, optimizer=OptimizerSpec(**optimizer), epochs=updates)


def losses(name, run, batch, start):
    """The loss of a backend before each update."""
    trainer, threads = registry.load(name).trainer(run, start), torch.get_num_threads()
    torch.set_num_threads(1)  # so that PyTorch adds in the same order every time
    values = np.array([trainer.step(batch) for _ in range(run.epochs)])
    torch.set_num_threads(threads)
    return values


def descend(rule, updates):
    """The losses on the wave if ``rule(gradients)`` is what is subtracted from each parameter."""
    params, values = start, []
    for _ in range(updates):
        loss, grads = registry.load("numpy").trainer(run, params).gradients(wave)
        params = {name: params[name] - move for name, move in rule(grads).items()}
        values.append(loss)
    return np.array(values)


def relative(a, b):
    """The largest difference, divided by the largest value of b."""
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(b).max())


# %% [markdown]
# ## One bias or two
#
# A bias is a row of numbers that is added for every sequence. PyTorch's networks have two: $b_{ih}$ goes with the
# input, $b_{hh}$ with the state. Many self-written networks have only one, $b$. For the outputs only the sum matters
# ($a_x$ is the input times its weights, with a row for each sequence and step):

# %%
show.lines("E2")

# %% [markdown]
# So a single bias $b = b_{ih} + b_{hh}$ gives the same function. The derivative of a sum with respect to each of its
# terms is one, so $b_{ih}$, $b_{hh}$ and $b$ all have the same gradient, and each of them receives the whole
# gradient. With two biases both move by it, so their sum moves twice as far as a single bias.

# %%
run = plan(lr=0.3, updates=45)
start = initial_network(run.network, 0)
first, moved, curves = {}, {}, {}
for kind, name in (("two biases", "numpy"), ("one bias", "one-bias")):
    trainer = registry.load(name).trainer(run, start)
    first[kind] = trainer.gradients(wave)
    trainer.step(wave)
    moved[kind] = sum(trainer.params()[bias] - start[bias] for bias in ("rnn.bias_ih_l0", "rnn.bias_hh_l0"))
    curves[kind] = losses(name, run, wave, start)

# %%
two, one = first.values()
assert np.isclose(two[0], one[0], rtol=1e-12)  # the losses
assert all(relative(one[1][name], two[1][name]) < 1e-11 for name in start)  # the gradients
assert relative(moved["two biases"], 2 * moved["one bias"]) < 1e-11
apart = np.exp(np.abs(np.log(curves["one bias"] / curves["two biases"])))  # the larger loss over the smaller
assert apart[0] < 1 + 1e-12 < 1.5 < apart.max()
factor = np.linalg.norm(moved["two biases"]) / np.linalg.norm(moved["one bias"])
show.text(f"In the first update the sum of the biases moves {factor:.3f} times as far with two biases as with one.")
show.plot(
    "One function, trained with two biases and with one, by gradient descent", range(len(apart)), curves,
    alt=f"Two curves that both start at {two[0]:.3f} and then differ by a factor of up to {apart.max():.0f}.",
    x_label="update", y_label="loss", log=True,
)  # fmt: skip

# %% [markdown]
# The curves start from the same value, because the function is the same. Only the updates differ: two biases have the
# effect of a larger learning rate for the bias.
#
# ## The small constant in clipping
#
# **Clipping** (Pascanu et al. 2013) protects against huge gradients. Let the **norm** be the square root of the sum
# of the squares of all gradients together. If it exceeds a limit $c$, all gradients are multiplied by $c$ divided by
# the norm. PyTorch's `clip_grad_norm_` first adds a small constant to the norm; Optax and this project do not. We
# give both libraries the same random gradients and set the limit to one tenth of the norm. The ratio of the results
# must be norm / (norm + small constant).


# %%
def clip_torch(grads, limit):
    holders = {name: torch.zeros(grad.shape, dtype=torch.float64) for name, grad in grads.items()}
    for name, holder in holders.items():
        holder.grad = torch.tensor(grads[name])
    torch.nn.utils.clip_grad_norm_(holders.values(), limit)
    return {name: np.asarray(holder.grad) for name, holder in holders.items()}


def clip_optax(grads, limit):
    with precision():  # 64 bits
        return to_numpy(optax.clip_by_global_norm(limit).update(grads, optax.EmptyState())[0])


# %%
rows, small_constant = [], 1e-6
for size in (1e3, 1.0, 1e-3, 1e-6):
    grads = {name: size * rng.standard_normal(shape) for name, shape in (("w", (3, 4)), ("b", (5,)))}
    norm = np.sqrt(sum((grad**2).sum() for grad in grads.values()))
    clipped = [clip(grads, norm / 10)["w"] for clip in (clip_torch, clip_optax, optim.clip)]
    assert relative(clipped[0], clipped[1] * norm / (norm + small_constant)) < 1e-12
    assert relative(clipped[2], clipped[1]) < 1e-12  # this project
    rows.append((f"{norm:.2g}", f"{(clipped[0] / clipped[1]).mean():.9f}"))
show.table("Clipped gradients: PyTorch's divided by Optax's", ("norm before", "ratio"), rows, numbers=(0, 1))

# %% [markdown]
# For typical norms the effect is tiny, but it has the same sign in every clipped update, so it adds up:

# %%
by_torch, by_optax = (
    descend(lambda grads, clip=clip: {name: 0.5 * grad for name, grad in clip(grads, 0.05).items()}, 20)
    for clip in (clip_torch, clip_optax)
)
gap = np.abs(by_torch / by_optax - 1)
assert gap[0] < 1e-12 < gap[1] < gap.max() / 3
show.text(
    f"In two training runs that differ in nothing else, the losses after one update differ by {gap[1]:.1e} of their "
    f"size, and within {len(gap)} updates they differ by up to {gap.max():.1e}."
)

# %% [markdown]
# ## The small constant in Adam
#
# **Adam** (Kingma & Ba 2015) keeps two running means for each parameter: $m$ of its gradients and $v$ of their
# squares. Both start at zero, so they are too small at first. At update $t$ the **bias correction** divides them by
# $1 - \beta_1^t$ and $1 - \beta_2^t$, which gives $\hat m$ and $\hat v$. The parameter moves by the learning rate
# times $\hat m / \sqrt{\hat v}$. A small $\epsilon$ keeps the divisor from being zero. It is added in one of three
# places:
#
# - outside the root: $\hat m / (\sqrt{\hat v} + \epsilon)$, in PyTorch, and in Optax as `eps`;
# - inside the root: $\hat m / \sqrt{\hat v + \epsilon}$, in Optax as `eps_root`;
# - before the correction: $\hat m \sqrt{1 - \beta_2^t} / (\sqrt{v} + \epsilon)$, the form that the paper gives at the
#   end of its section 2 ("epsilon hat") and that TensorFlow 1 used.
#
# First we check these formulas against the libraries, in a first update with gradients as small as $\epsilon$.

# %%
B1, B2, EPS = 0.9, 0.999, 1e-8
FORMS = {
    "outside": lambda m, v, u1, u2: (m / u1) / (np.sqrt(v / u2) + EPS),
    "inside": lambda m, v, u1, u2: (m / u1) / np.sqrt(v / u2 + EPS),
    "before": lambda m, v, u1, u2: (m / u1) * np.sqrt(u2) / (np.sqrt(v) + EPS),
}


def adam(form, gradients):
    """The changes of a parameter in all updates, for a learning rate of 1."""
    m, v, moves = 0.0, 0.0, []
    for t, g in enumerate(gradients, start=1):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        moves.append(form(m, v, 1 - B1**t, 1 - B2**t))
    return np.array(moves)


# %%
tiny = EPS * rng.standard_normal((6, 4))
outside, inside, _ = (adam(form, tiny)[0] for form in FORMS.values())
value = torch.zeros(4, dtype=torch.float64)
value.grad = torch.tensor(tiny[0])
torch.optim.Adam([value], lr=1.0, betas=(B1, B2), eps=EPS).step()
assert relative(outside, -value.numpy()) < 1e-9
with precision():
    rules = optax.scale_by_adam(B1, B2, eps=EPS), optax.scale_by_adam(B1, B2, eps=0.0, eps_root=EPS)
    for form, rule in zip((outside, inside), rules, strict=True):
        assert relative(form, rule.update(jnp.asarray(tiny[0]), rule.init(jnp.zeros(4)))[0]) < 1e-9

# %% [markdown]
# Then we compute the first change of a parameter in all three forms, for gradients of several sizes. Without
# $\epsilon$ each change would be exactly one learning rate, whatever the gradient.

# %%
rows = []
for size in (1.0, 1e-3, 1e-4, 1e-6, EPS):
    share = [adam(form, [size])[0] for form in FORMS.values()]
    rows.append((f"{size:.0e}", *(f"{part:.6f}" for part in share)))
    assert size < 1 or max(share) - min(share) < 1e-6
    assert size > EPS or share[0] > 10 * share[2] > 100 * share[1]
show.table("The first change by Adam, in learning rates", ("gradient", *FORMS), rows, numbers=range(4),
           note=f"epsilon is {EPS:.0e} in all three forms")  # fmt: skip

# %% [markdown]
# All three forms treat large gradients alike, but not small ones. Gradients that come through many time steps are
# often small. In the form "before", the same $\epsilon$ acts like a larger one during the first updates; exercise 2
# asks how much larger.
#
# ## Dropout masks
#
# **Dropout** (Srivastava et al. 2014) multiplies the outputs of a layer by a random **mask**, which is zero with
# probability $p$ and $1 / (1 - p)$ otherwise. The division keeps the mean at one (**inverted** dropout), so nothing
# has to be scaled after training. A **seed** fixes the random numbers, but only for one generator. Here is the same
# seed in three libraries:

# %%
COUNT, P, SEED = 20_000, 0.4, 3
torch.manual_seed(SEED)
factors = torch.nn.functional.dropout(torch.ones(COUNT, dtype=torch.float64), P).numpy()
margin = 5 * np.sqrt(P / (1 - P) / COUNT)  # five standard deviations of the mean of the factors
assert abs(factors.mean() - 1) < margin < 1 - (factors > 0).mean()
nonzero = {
    "torch": factors > 0,
    "jax": np.asarray(jax.random.bernoulli(jax.random.key(SEED), 1 - P, (COUNT,))),
    "numpy": np.random.default_rng(SEED).random(COUNT) >= P,
}
pairs = [(a, b, np.mean(nonzero[a] == nonzero[b])) for a, b in (("torch", "jax"), ("torch", "numpy"), ("jax", "numpy"))]
chance = P**2 + (1 - P) ** 2
assert all(abs(agree - chance) < 0.02 for _, _, agree in pairs)
show.table("Share of elements in which two masks with the same seed agree", ("mask of", "and of", "agree"),
           [(a, b, f"{agree:.3f}") for a, b, agree in pairs], numbers=(2,),
           note=f"independent masks agree in {chance:.3f} of the elements")  # fmt: skip

# %% [markdown]
# So a common seed is of no use. Draw the masks once and pass the same arrays to all implementations, as this project
# does. Below, `vjp` is a backward pass from given gradients of the outputs, `dy`, and of the final state, `dstate`.

# %%
spec = ModelSpec(cell="RNN", input_size=3, hidden_size=5, num_layers=2, dropout=P)
params, masks, others = initial_parameters(spec, 1), *(dropout_masks(spec, 4, 2, rng) for _ in range(2))
x, dy = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 5))
state0, dstate = ((rng.uniform(-1, 1, (2, 2, 5)),) for _ in range(2))
results = {}
for label, name, factors in (("", "numpy", masks), ("j", "jax", masks), ("t", "torch", masks), ("o", "numpy", others)):
    y, final = registry.load(name).forward(spec, params, x, state0, masks=factors)
    grads = registry.load(name).vjp(spec, params, x, state0, dy, dstate, masks=factors)
    results[label] = [y, *final, *(grads.params[name] for name in params), grads.x, *grads.state0]
differ = {
    label: [relative(*pair) for pair in zip(arrays, results[""], strict=True)] for label, arrays in results.items()
}
worst, foreign = max(differ["j"] + differ["t"]), min(differ["o"])
assert worst < 1e-11 < 0.01 < foreign
show.text(
    f"With the same masks the outputs and gradients of the three frameworks agree to {worst:.0e}. With other masks of "
    f"the same probability, each of them changes by at least {foreign:.2f} of its size, even within NumPy."
)

# %% [markdown]
# ## Rounding
#
# A computer keeps a fixed number of digits, in **float64** about twice as many as in **float32**. Every sum is
# rounded, so the order of its terms matters, and implementations add in different orders. JAX adds a trap: unless
# 64-bit types are enabled, it converts float64 arrays to float32 without a warning. (The project's backend enables
# them.)

# %%
terms = rng.standard_normal(1000)
ahead, back = (float(np.cumsum(row.astype("f4"))[-1]) for row in (terms, terms[::-1]))
assert ahead != back
with jax.enable_x64(False), warnings.catch_warnings():
    warnings.simplefilter("error")  # a warning would stop the lesson
    silent = jnp.asarray(terms)
with jax.enable_x64(True):
    full = jnp.asarray(terms)
assert terms.dtype == full.dtype == np.float64 != silent.dtype
show.text(
    f"The sum of {len(terms)} float32 numbers is {ahead:.9g} if they are added forwards and {back:.9g} if they are "
    f"added backwards. With 64-bit types disabled, JAX silently converted {terms.dtype} to {silent.dtype}."
)

# %% [markdown]
# In training on the sine wave this hardly matters:

# %%
calm = plan(lr=0.1, updates=100)
drift = relative(losses("torch", calm, wave, start), losses("numpy", calm, wave, start))
assert drift < 1e-9
show.text(f"The {calm.epochs} losses of NumPy and PyTorch on the wave, both in float64, differ by at most {drift:.0e}.")

# %% [markdown]
# Other training runs are unstable: small changes of the weights grow. In the next run the recurrent weights start
# three times too large. We compare NumPy's float64 run with three others: float32 from the same weights, PyTorch in
# float64, and, as a yardstick, the same program with one weight **nudged** in its last digit.

# %%
x = rng.uniform(-1, 1, (20, 20, 2)).astype("f4")
batch = {kind: Batch(x.astype(kind), (x[2, :, :1] * x[5, :, :1]).astype(kind)) for kind in ("f4", "f8")}
single, double = (plan(kind, 2, 16, updates=100, name="adam", lr=0.01) for kind in ("float32", "float64"))
weights = initial_network(single.network, 0)
weights["rnn.weight_hh_l0"] *= np.float32(3)
same = {name: value.astype("f8") for name, value in weights.items()}
nudged = same | {"rnn.weight_hh_l0": same["rnn.weight_hh_l0"].copy()}
nudged["rnn.weight_hh_l0"][0, 0] *= 1 + np.finfo("f8").eps
reference = losses("numpy", double, batch["f8"], same)
runs = {
    "NumPy, float32": losses("numpy", single, batch["f4"], weights),
    "PyTorch, float64": losses("torch", double, batch["f8"], same),
    "NumPy, float64, nudged": losses("numpy", double, batch["f8"], nudged),
}

# %% [markdown]
# Each curve is the largest relative difference of the losses so far.

# %%
gaps = {label: np.maximum.accumulate(np.abs(values / reference - 1)) for label, values in runs.items()}
assert all(gap[-1] > 100 * gap[2] for gap in gaps.values())
assert all(gap[-1] <= gaps["NumPy, float32"][-1] for gap in gaps.values())
assert gaps["NumPy, float32"][-1] > 1e-3 > 1e-6 > max(gap[2] for gap in gaps.values())
assert 1e-4 < gaps["PyTorch, float64"][-1] / gaps["NumPy, float64, nudged"][-1] < 1e4
ends = ", ".join(f"{label}: {gap[-1]:.0e}" for label, gap in gaps.items())
show.plot(
    "How far a training run diverges from NumPy's in float64", range(double.epochs), gaps,
    alt=f"Three curves that rise over {double.epochs} updates; they end at {ends}.",
    x_label="update", y_label="largest relative difference", log=True,
)  # fmt: skip

# %% [markdown]
# All three rise although there is no mistake anywhere; float32 ends highest, because its rounding is the coarsest.
# The nudged run is the test for "only rounding": a difference between implementations that starts at the size of
# rounding and grows like this one needs no other explanation.
#
# ## What to compare, and in which order
#
# Use float64, the same initial weights and the same batch, and stop at the first line that differs.

# %%
checklist = (
    ("parameters: names, shapes, type, values", "conversion; one bias or two; a silent float32"),
    ("the batch: inputs, targets, lengths, masks", "shuffling; masks that each library draws itself"),
    ("outputs and loss before the first update", "the forward pass; sum or mean in the loss"),
    ("every gradient at these parameters", "the backward pass"),
    ("the gradients after clipping", "the norm of all or of each; the small constant"),
    ("the first change, for the same gradients", "learning rate, defaults, position of epsilon"),
    ("later changes, for the same gradients", "the state of the optimiser; a changing rate"),
    ("growth of the difference, compared with a nudged run", "similar: rounding; larger: start again"),
)
rows = [(place, *line) for place, line in enumerate(checklist, start=1)]
show.table("When two training runs diverge", ("order", "compare", "if it differs, look at"), rows, numbers=(0,))

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# Give the single bias its own learning rate, so that the network with one bias trains like the network with two.
# (Hint: use `descend` from the first code block, let $b_{ih}$ move and keep $b_{hh}$ fixed.)

# %% tags=["solution"]
# The sum of two biases moves by the rate times twice the gradient, so the single bias needs twice the rate.
one_bias = {}
for times in (1, 2):
    rates = dict.fromkeys(start, 0.3) | {"rnn.bias_ih_l0": 0.3 * times, "rnn.bias_hh_l0": 0.0}
    one_bias[times] = descend(lambda grads, r=rates: {name: r[name] * grad for name, grad in grads.items()}, run.epochs)
repaired = relative(one_bias[2], curves["two biases"])
assert repaired < 1e-9
assert relative(one_bias[1], curves["one bias"]) < 1e-9  # with the same rate it is the network with one bias
show.text(f"With twice the rate for its bias, the {run.epochs} losses agree to {repaired:.0e}.")

# %% [markdown]
# ### Exercise 2
#
# Which $\epsilon$, different at every update $t$, makes the form "outside" change the parameters exactly as the form
# "before" does?

# %% tags=["solution"]
# Divide numerator and denominator of "before" by the square root of 1 - beta2^t: this divides its epsilon, too.
moved = adam(lambda m, v, u1, u2: (m / u1) / (np.sqrt(v / u2) + EPS / np.sqrt(u2)), tiny)
assert relative(moved, adam(FORMS["before"], tiny)) < 1e-9 < relative(adam(FORMS["outside"], tiny), moved)
times = 1 / np.sqrt(1 - B2 ** np.array([1, 1000]))
show.text(
    f"Epsilon acts as if it were {times[0]:.1f} times as large at the first update and {times[1]:.2f} times as large "
    "at the last of 1000."
)
