"""The example that ``trace`` and ``stepper`` walk through: a random one, or a layer of a file on recorded inputs."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import console
from common.cli.layers import chosen as layers
from common.cli.options import MODEL_ROWS, Parser, add_rows, add_seed, at_least, given, integers, named
from common.errors import InvalidInput, mismatch
from common.model.cells import CELLS
from common.model.spec import ModelSpec
from common.proof.recorded import read_arrays
from common.tracing import examples
from common.tracing.entering import LAYER, NETWORK, Entering, entering
from common.tracing.shown import FEATURES, UNITS
from common.tracing.trace import Example, require_example
from common.weights.layer import Layer, select, single_layer, split
from common.weights.limits import GiB, in_words
from common.weights.source import WeightsFile

# The sizes of an example without a file.
SIZES: dict[str, Any] = {"input_size": 2, "hidden_size": 3}
STEPS = 5
# The most that the arrays of all traces may take.
MEMORY = 2 * GiB


def add(parser: Parser) -> None:
    """What is walked through."""
    text = "weights in any format that `rosetta inspect` reads (default: random weights)"
    parser.add_argument("file", nargs="?", metavar="FILE", help=text)
    parser.add_argument("--weights", metavar="FILE", help="the same")
    layers.add_layer(parser)
    text = f"one of {', '.join(CELLS)}, of one layer in one direction (default: that of FILE, or {CELLS[0]})"
    parser.add_argument("--cell", type=named(CELLS), metavar="NAME", help=text)
    text = "recorded inputs in an .npy or .npz file: (T, I), or (T, B, I) of which --sequence chooses one; they have "
    text += "the width of the layer, or that of the whole model, and then the layers below are run"
    parser.add_argument("--inputs", metavar="X.npy", help=text)
    text = f"whose inputs they are, {NETWORK} or {LAYER}, where both have one width (default: {NETWORK})"
    parser.add_argument("--inputs-of", type=named((NETWORK, LAYER)), metavar="NAME", help=text)
    parser.add_argument("--sequence", type=at_least(1), metavar="N", help="sequence of a batch (default: 1, the first)")
    parser.add_argument("--batch-first", action="store_true", help="recorded inputs are (B, T, I)")
    text = f"time steps (default: {STEPS}, or all of --inputs)"
    parser.add_argument("--steps", type=at_least(1), metavar="T", help=text)
    add_seed(parser, "seed of the example")
    sized = [
        MODEL_ROWS[name]._replace(help=f"{MODEL_ROWS[name].help} (default: {size})") for name, size in SIZES.items()
    ]
    add_rows(parser, "model", [*sized, *(MODEL_ROWS[name] for name in ("nonlinearity", "reset_after", "bias"))])


def add_shown(parser: Parser) -> None:
    text = f"numbers of the hidden units to show (default: the first {UNITS})"
    parser.add_argument("--units", type=integers, metavar="N,N,...", help=text)
    text = f"numbers of the features of x to show (default: the first {FEATURES})"
    parser.add_argument("--features", type=integers, metavar="N,N,...", help=text)


def chosen(options: Namespace, example: Example) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """The units and features that the options name, counted from 0; None where they do not."""
    spec = example.spec
    return _numbers("--units", options.units, spec.hidden_size), _numbers(
        "--features", options.features, spec.input_size
    )


def _numbers(what: str, numbers: tuple[int, ...] | None, size: int) -> tuple[int, ...] | None:
    """The user's numbers, which count from 1, as numbers from 0; they must be different and at most ``size``."""
    if numbers is None:
        return None
    if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= number <= size for number in numbers):
        raise InvalidInput(mismatch(what, f"different numbers from 1 to {size}", ",".join(map(str, numbers)) or "none"))
    return tuple(number - 1 for number in numbers)


def example(options: Namespace, most: int | None, traces: int = 3) -> tuple[Example, str]:
    """The example that the options describe, and the file and layer that its weights are of, "" for random ones.

    It has at most ``most`` steps, and no more than ``traces`` of it fit into ``MEMORY``.
    """
    if options.steps is not None and most is not None and options.steps > most:
        raise InvalidInput(mismatch("--steps", f"at most {most} for a page", options.steps))
    sizes = given(options, ("input_size", "hidden_size", "nonlinearity", "reset_after", "bias"))
    path, source, x = _path(options), "", None
    if path:
        layers.refuse_beside(options, [name for name in sizes if name not in layers.OPEN])
        file = layers.read(path, "--weights" if options.weights else "FILE")
        spec, params, notes = _layer(file, options)
        for note in notes:
            console.note(note)
        source = path if options.layer is None else f"{path}, {options.layer}"
        if options.inputs is not None:
            found = _recorded(file, options)
            x = _first_steps(options, found.x, most)
            for note in found.notes:
                console.note(note)
    else:
        for option in ("layer", "inputs"):
            if getattr(options, option) is not None:
                raise InvalidInput(mismatch(f"--{option}", "none without FILE", getattr(options, option)))
        spec, params = ModelSpec(cell=options.cell or CELLS[0], **SIZES | sizes), None
    steps = len(x) if x is not None else options.steps or STEPS
    _require_memory(spec, steps, traces)
    made = examples.example(spec, params, steps=steps, seed=options.seed, x=x)
    if options.loss == "last":
        made.counted[:-1] = 0
    require_example(made)
    return made, source


def _path(options: Namespace) -> str:
    if options.file and options.weights:
        raise InvalidInput(mismatch("--weights", "none with FILE, which is the same", options.weights))
    return options.file or options.weights or ""


def _layer(file: WeightsFile, options: Namespace) -> Layer:
    said = layers.said(options)
    layer = single_layer(file, said.get("cell"), said.get("nonlinearity"), said.get("reset_after"), options.layer)
    return layer._replace(notes=layer.notes[len(file.notes) :])


def _recorded(file: WeightsFile, options: Namespace) -> Entering:
    """The chosen sequence of the recorded inputs, as the layer and direction reads it."""
    arrays = read_arrays(Path(options.inputs), "--inputs")
    x = arrays.get("x", next(iter(arrays.values()), None)) if "x" in arrays or len(arrays) == 1 else None
    if x is None:
        raise InvalidInput(mismatch(f"arrays in {options.inputs}", "x", ", ".join(arrays) or "none"))
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise InvalidInput(mismatch(f"x in {options.inputs}", "(T, I), or (T, B, I)", f"shape {x.shape}"))
    if x.ndim == 3:
        x = x.swapaxes(0, 1) if options.batch_first else x
        number = options.sequence or 1
        if number > x.shape[1]:
            raise InvalidInput(mismatch("--sequence", f"at most {x.shape[1]}, the size of the batch", number))
        x = x[:, number - 1]
    elif options.sequence is not None:
        raise InvalidInput(mismatch("--sequence", "none for one sequence", options.sequence))
    path, direction = (None, "") if options.layer is None else split(file, options.layer)
    whole = select(file, path, **layers.said(options))
    return entering(whole, direction, x, options.inputs_of)


def _first_steps(options: Namespace, x: np.ndarray, most: int | None) -> np.ndarray:
    """The first ``--steps`` of the inputs, in the order in which they are read."""
    if options.steps is not None:
        if options.steps > len(x):
            raise InvalidInput(mismatch("--steps", f"at most {len(x)}, those of --inputs", options.steps))
        return x[: options.steps]
    if most is not None and len(x) > most:
        raise InvalidInput(
            mismatch("steps of --inputs", f"at most {most} for a page", len(x), "--steps takes the first")
        )
    return x


def _require_memory(spec: ModelSpec, steps: int, traces: int) -> None:
    """Raise where the gradients of every step, of which a trace has two of each weight, take too much memory."""
    width = spec.input_size + spec.hidden_size + 2
    needed = 8 * steps * spec.num_blocks * spec.hidden_size * width * (2 * traces + 3)
    if needed > MEMORY:
        fitting = max(1, steps * MEMORY // needed)
        cause = f"every step keeps gradients of all weights, {in_words(needed)} here; --steps takes the first"
        raise InvalidInput(mismatch("steps to trace", f"at most {fitting} for {spec.label} of this size", steps, cause))
