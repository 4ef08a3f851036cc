"""``rosetta generate`` and ``rosetta predict``: use a trained network in any backend."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from common import datasets, records
from common.backend import registry
from common.backend.contract import Batch
from common.cli import console
from common.cli.options import Verbs, add_backends, add_seed, add_verb, at_least, backends, number
from common.cli.train import fingerprint
from common.datasets.task import Dataset
from common.errors import InvalidInput, mismatch
from common.training import decoding
from common.weights import files
from common.weights.source import Trained

SHOWN = 10
TEMPERATURE = 0.7


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "generate", generate, "continue a text with a trained network")
    parser.add_argument("file", help="a network that `rosetta train text` saved")
    add_backends(parser, ("numpy",), several=False)
    parser.add_argument("--prompt", metavar="TEXT", help="text to continue (default: the beginning of a line)")
    text = "characters to add (default: 400)"
    parser.add_argument("--length", type=at_least(1), default=400, metavar="N", help=text)
    text = f"how freely characters are drawn; 0 is greedy (default: {TEMPERATURE})"
    parser.add_argument("--temperature", type=at_least(0, number), metavar="X", help=text)
    parser.add_argument("--greedy", action="store_true", help="take the likeliest character each time")
    add_seed(parser, "seed of the characters that are drawn")

    more = "Without input, it is scored on the test data of its task."
    parser = add_verb(verbs, "predict", predict, "apply a trained network to inputs", more)
    parser.add_argument("file", help="a network that `rosetta train` saved")
    text = "what to predict from, in the form of the task; put -- before an input that begins with -"
    parser.add_argument("input", nargs="*", type=str, help=text)
    add_backends(parser, ("numpy",), several=False)


def load(path: str, *, tested: bool) -> tuple[Trained, Dataset]:
    """A saved network and the data of its task; with ``tested``, raises if its test data have changed since."""
    trained = files.read_trained(Path(path))
    network, about = trained.network, trained.about
    data = datasets.load(about["task"], about["reading"], network.model.dtype, **about["options"])
    cause = "has the text, or the version of Python that supplies it, changed since?"
    if list(data.symbols) != about["symbols"] or list(data.outputs.symbols) != about["output_symbols"]:
        raise InvalidInput(mismatch(f"symbols of {about['task']}", "those in the file", "others", cause))
    if tested and fingerprint(data) != about["data"]:
        raise InvalidInput(mismatch(f"test data of {about['task']}", "the data in the file", "other data", cause))
    wanted = (data.outputs.readout, data.outputs.size, data.outputs.loss)
    got = (network.readout, network.readout_size, network.loss)
    if wanted != got:
        raise InvalidInput(mismatch(f"readout, its size and loss in {path}", f"{wanted} of {data.task}", got))
    return trained, data


def _backend(options: Namespace) -> str:
    """The name of the one backend."""
    names = dict.fromkeys(options.backend or ())
    if len(names) > 1:
        raise InvalidInput(mismatch("--backend", "one", ", ".join(names)))
    (name,) = backends(options)
    return name


def _temperature(options: Namespace) -> float:
    """The temperature, 0 for greedy."""
    if options.greedy and options.temperature:
        raise InvalidInput(mismatch("--temperature", "none with --greedy, which means 0", options.temperature))
    if options.greedy:
        return 0.0
    return TEMPERATURE if options.temperature is None else options.temperature


def generate(options: Namespace) -> int:
    """Continue a text."""
    name, temperature = _backend(options), _temperature(options)
    network, params, about = files.read_trained(Path(options.file))
    symbols = about["symbols"]
    if network.readout != "every_step" or symbols != about["output_symbols"] or network.model.bidirectional:
        kind = "a bidirectional network" if network.model.bidirectional else "a network"
        wanted = "a network that predicts the next symbol of its own input, as of the task text"
        raise InvalidInput(mismatch(options.file, wanted, f"{kind} of the task {about['task']}"))
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    prompt = options.prompt or ("\n" if "\n" in numbers else symbols[0])
    if unknown := next((character for character in prompt if character not in numbers), None):
        raise InvalidInput(mismatch("--prompt", f"characters of {''.join(symbols)!r}", repr(unknown)))
    start = np.array([numbers[character] for character in prompt])
    arguments = (registry.load(name), network, params, start, options.length, temperature, options.seed)
    text = "".join(symbols[number] for number in decoding.generate(*arguments))
    if options.json:
        print(records.dumps({"prompt": prompt, "text": text, "temperature": temperature, "backend": name}))
    else:
        console.line(prompt + text, keep="\n\t")
    return 0


def predict(options: Namespace) -> int:
    """Print the predictions for the inputs, or for the test data with their score."""
    name = _backend(options)
    (network, params, _), data = load(options.file, tested=not options.input)
    backend, display, scoring = registry.load(name), data.display, data.scoring
    if options.input and (display.encode is None or display.decode is None):
        wanted = f"none, as inputs of {data.task} cannot be typed"
        raise InvalidInput(mismatch("input", wanted, " ".join(options.input)))
    batch = data.test
    if options.input and display.encode:
        batch = datasets.cast(display.encode(options.input), network.model.dtype)
    if network.has_decoder:
        prediction = decoding.greedy(backend, network, params, batch)
    else:
        prediction, _ = backend.predict(network, params, batch)
    lines = display.decode(prediction, batch) if display.decode else [f"{value:.6f}" for value in prediction.ravel()]
    if options.json:
        facts = {} if options.input else {"metric": scoring.metric.name, "score": scoring.score(prediction, batch)}
        print(records.dumps({"task": data.task, "backend": name, "inputs": options.input, "says": lines, **facts}))
        return 0
    if options.input:
        title = f"{data.task}, {network.model.cell}, {name}"
        console.table(title, ("input", "prediction"), zip(options.input, lines, strict=True))
        return 0
    _print_test(data, batch, prediction, lines, name)
    return 0


def _print_test(data: Dataset, batch: Batch, prediction: np.ndarray, lines: list[str], name: str) -> None:
    metric, baseline = data.scoring.metric, data.scoring.baseline
    score = data.scoring.score(prediction, batch)
    console.line(f"{data.task}, {data.reading}, on the test data in {name}: {metric.name} {score:.6g}")
    console.line(f"without learning ({baseline.text}): {baseline.value:.6g}")
    first = f"The first {min(SHOWN, len(lines))} of {len(lines)} predictions:"
    console.line("\n  ".join([first, *lines[:SHOWN]]), keep="\n\t")
    sys.stdout.flush()
