"""The last two rungs of the ladder: training of networks that cover every readout, loss, input and optimiser."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Backend, Batch
from common.equivalence.comparison import Row, compare_all
from common.equivalence.variants import DEFAULTS, FORMS, B, H, I, T, Variant, problem
from common.model.cells import LAYERS
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import DTYPES

# The sizes of the readout (values, symbols), of the vocabulary of an embedding, the steps of a decoder.
O, O_SYMBOLS, VOCABULARY, DECODER_STEPS = 2, 4, 6, 8


class Setup(NamedTuple):
    """A network around a recurrent model, the optimiser, the number of updates, and whether the state is carried on."""

    readout: str
    loss: str
    inputs: str
    optimizer: OptimizerSpec
    updates: int
    carried: bool = False
    ragged: bool = False


# With the usual eps, an element whose gradient is barely above rounding error moves by the whole learning rate.
RMSPROP = {"name": "rmsprop", "lr": 0.003, "eps": 1e-4, "momentum": 0.5, "clip_norm": 1.0}
RMSPROP |= {"schedule": "step", "schedule_steps": 7}
COSINE = {"name": "adam", "lr": 0.01, "clip_norm": 0.3, "schedule": "cosine", "schedule_steps": 15}
LINEAR = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "schedule": "linear", "schedule_steps": 15}
SETUPS = (
    Setup("last_step", "mse", "features", OptimizerSpec(name="sgd", lr=0.05), 100),
    Setup("last_sequence", "mse", "features", OptimizerSpec(name="adam", lr=0.01), 20),
    Setup("every_step", "cross_entropy", "one_hot", OptimizerSpec(**RMSPROP), 20, carried=True),
    Setup("final_state", "cross_entropy", "embedding", OptimizerSpec(**COSINE), 20, ragged=True),
    Setup("encoder_decoder", "cross_entropy", "embedding", OptimizerSpec(**LINEAR), 20, ragged=True),
)


def setups(variant: Variant) -> tuple[Setup, ...]:
    """All setups for each layer in its default form; the first two for the rest, as the code around it is the same."""
    default = all(getattr(variant.spec, name) == DEFAULTS[name] for name in FORMS)
    return SETUPS if variant.spec.cell in LAYERS and default else SETUPS[:2]


def network(setup: Setup, variant: Variant) -> NetworkSpec:
    """The network of a setup around the model of a variant."""
    symbols = {"features": None, "one_hot": variant.spec.input_size, "embedding": VOCABULARY}[setup.inputs]
    size = O if setup.loss == "mse" else O_SYMBOLS
    fields = {"readout": setup.readout, "loss": setup.loss, "inputs": setup.inputs, "vocabulary": symbols}
    return NetworkSpec(model=variant.spec, readout_size=size, **fields)


def batch(setup: Setup, spec: NetworkSpec, variant: Variant, ragged: bool) -> Batch:
    """Inputs and targets, drawn from the variant's seed; one target in five does not count, where that is possible."""
    rng, steps, size = np.random.default_rng([variant.seed, 2]), variant.steps, variant.batch
    rows = {"last_sequence": (steps,), "every_step": (steps, size), "encoder_decoder": (DECODER_STEPS, size)}
    rows = rows.get(setup.readout, (size,))
    if setup.loss == "mse":
        target = rng.standard_normal((*rows, spec.readout_size)).astype(variant.spec.dtype)
        return Batch(problem(variant).x, target)
    target = rng.integers(spec.readout_size, size=rows)
    if len(rows) > 1:
        target[rng.random(rows) < 0.2] = -1
    return Batch(
        rng.integers(spec.vocabulary or 0, size=(steps, size)),
        target,
        lengths=rng.integers(1, steps + 1, size=size) if ragged else None,
        decoder_x=rng.integers(spec.readout_size, size=rows) if spec.has_decoder else None,
    )


def is_trained(variant: Variant) -> bool:
    """Whether the last two rungs apply to this variant: a plain one, of one layer, that starts from zero.

    It must have biases, as the third rung has already compared the gradients without them, and training adds only the
    optimiser.
    """
    spec, plain = variant.spec, variant.regime == "plain" and not variant.called
    return plain and spec.bias and not variant.given_state and spec.is_single and spec.dtype in DTYPES


def check_training(
    backends: Mapping[str, Backend],
    variant: Variant,
    each: Callable[[Mapping[str, Backend], Callable[[Backend], Any]], dict[str, Any]],
) -> Iterator[Row]:
    """The last two rungs, on one variant; training starts from a zero state. ``each`` calls every backend.

    A variant of other sizes than the harness's own (``variants.T, B, I, H``) is not trained, for there is no bound to
    hold it to: training can amplify rounding by any amount. An RNN of 128 units under RMSprop differs in the first
    digit of its loss within 20 updates in float32, between any two implementations.
    """
    sizes = variant.steps, variant.batch, variant.spec.input_size, variant.spec.hidden_size
    ragged = all("lengths" in backend.options for backend in backends.values())
    for setup in setups(variant):
        spec, rule = network(setup, variant), setup.optimizer.name
        data, start = batch(setup, spec, variant, ragged and setup.ragged), initial_network(spec, variant.seed)
        run = RunSpec(network=spec, optimizer=setup.optimizer, epochs=setup.updates, seed=variant.seed)

        def trained(
            backend: Backend,
            setup: Setup = setup,
            run: RunSpec = run,
            data: Batch = data,
            start: Any = start,
            rule: str = rule,
        ) -> tuple[Any, ...]:
            data, start = deepcopy(data), deepcopy(start)  # a backend can change only its own copies
            trainer = backend.trainer(run, start)
            loss = named_loss(setup.readout, *trainer.gradients(data))
            if sizes != (T, B, I, H):
                return loss, {}, {}
            steps = (trainer.step(data, carried=setup.carried and k > 0) for k in range(setup.updates))
            curve = {f"{setup.readout} {rule} curve": list(steps)}
            return loss, curve, {f"{setup.readout} {rule} {k}": v for k, v in trainer.params().items()}

        results = each(backends, trained)
        losses, curves, ends = ({name: found[k] for name, found in results.items()} for k in range(3))
        yield from compare_all("loss", variant, losses)
        yield from compare_all("training", variant, curves, curve=True)
        yield from compare_all("training", variant, ends)


def named_loss(readout: str, loss: float, grads: Mapping[str, np.ndarray]) -> dict[str, Any]:
    short = {name.removeprefix("rnn.").removesuffix("_l0"): grad for name, grad in grads.items()}
    return {f"{readout} loss": loss} | {f"{readout} d{name}": grad for name, grad in short.items()}
