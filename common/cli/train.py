"""``rosetta train``, ``generate`` and ``predict``: a network is trained, kept in a file, and used, in any backend."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from common import datasets, records, signals
from common.backend import registry
from common.backend.contract import Batch
from common.cli import console, tables
from common.datasets.task import Dataset
from common.equivalence import ladder
from common.errors import Diverged, InvalidInput, mismatch
from common.model.run import RunSpec
from common.study import runs as study_runs
from common.study.environment import environment
from common.training import decoding, settings
from common.training.loop import Progress, Result, train
from common.weights import saved

SHOWN = 10
TEMPERATURE = 0.7


def train_command(
    options: Namespace,
    chosen: dict[str, Any],
    names: Sequence[str],
    collect: Callable[..., list[records.Record]],
) -> int:
    """Train in every chosen backend, save what was learnt, compare the backends if there are several."""
    runs = list(settings.resolve(chosen))
    folder = Path(options.out)
    saved.require_folder(folder)
    ended: list[str] = []
    of_task = settings.task_options(chosen)

    def stream() -> Any:
        yield from environment(names)
        for data, run in runs:
            results: dict[str, Result] = {}
            for name in names:
                if arrived:  # between two runs: the next would learn nothing
                    ended.append(name)
                    return
                results[name] = result = _train_one(name, data, run, stages, lambda: bool(arrived))
                if result.ended == "interrupted":
                    ended.append(name)
                    if not result.losses:
                        return
                path = _path(folder, name, data, run)
                if path.exists():
                    console.message(f"{path} is replaced")
                saved.save(path, run.network, result.params, _about(name, data, run, result, chosen))
                record = study_runs.training_record(name, data, run, result, of_task)
                record["saved"] = str(path)
                yield record
                if ended:
                    return
            if len(names) > 1:
                yield from (row.record() for row in study_runs.compare_runs(data, run, results, of_task))

    with console.Stages() as stages, signals.interruptible() as arrived:
        found = collect(options, stream())
    if not options.json:
        tables.print_training(found)
        if any(record["kind"] == "check" for record in found):
            tables.print_checks(found)
    if ended:
        learnt = any(record["kind"] == "training" for record in found)
        kept = "what was learnt until then is saved" if learnt else "nothing was learnt until then"
        console.message(f"rosetta: {signals.phrase(arrived[0])}; {kept}")
        return signals.exit_code(arrived[0])
    return 0 if len(names) == 1 or ladder.all_passed(found) else 1


def _train_one(name: str, data: Dataset, run: RunSpec, stages: console.Stages, stopped: Callable[[], bool]) -> Result:
    """One backend, with a progress bar that shows the loss."""
    model = run.network.model
    label = f"{data.task} {model.label} {model.dtype} {name}"
    advance = stages.stage(label, run.epochs)
    done, last = 0, ""

    def on_update(updates: int, loss: float) -> None:
        stages.note(f"update {updates}, loss {loss:.6g}{last}")

    def on_epoch(epoch: int, evaluation: Any) -> None:
        nonlocal done, last
        done, last = epoch + 1, f", validation {evaluation.loss:.6g}" if evaluation else ""
        advance()

    try:
        result = train(registry.load(name), run, data, Progress(on_update, on_epoch, stopped))
    except Diverged as error:
        raise Diverged(f"{label}: {error}") from error
    if result.ended != "finished":
        console.message(f"{label}: {done} of {run.epochs} epochs ({result.ended})")
    return result


def _path(folder: Path, backend: str, data: Dataset, run: RunSpec) -> Path:
    model = run.network.model
    words = [data.task, data.reading, model.cell, *([model.dtype] if model.dtype != "float64" else []), backend]
    words += [f"seed{run.seed}"] if run.seed else []
    return folder / ("-".join(word.replace("/", "_").replace(":", "_") for word in words) + ".npz")


def _about(backend: str, data: Dataset, run: RunSpec, result: Result, chosen: dict[str, Any]) -> dict[str, Any]:
    """What a file tells about the network in it."""
    return {
        "task": data.task,
        "reading": data.reading,
        "options": _anywhere(settings.task_options(chosen)),
        "symbols": data.symbols,
        "output_symbols": data.outputs.symbols,
        "data": _fingerprint(data),
        "trained_by": backend,
        "optimizer": asdict(run.optimizer),
        "epochs": run.epochs,
        "seed": run.seed,
        "updates": len(result.losses),
        "ended": result.ended,
        "final_loss": result.final_loss,
        "metric": data.scoring.metric.name,
        "score": result.score,
        "baseline": data.scoring.baseline.value,
    }


def _anywhere(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a task with the path of its text as it is found from any folder."""
    return options | ({"text": str(Path(options["text"]).resolve())} if options.get("text") else {})


def _fingerprint(data: Dataset) -> str:
    """A digest of the symbols under test, which show another text; "" for numbers, which round."""
    if not data.symbols:
        return ""
    arrays = (array for array in data.test if array is not None and array.dtype.kind in "iu")
    return sha256(b"".join(array.astype("<i8").tobytes() for array in arrays)).hexdigest()


def load(path: str, *, tested: bool) -> tuple[saved.Saved, Dataset]:
    """A saved network, and the data of its task, which is the same as then if it is to be ``tested`` on it."""
    found = saved.load(Path(path))
    network, about = found.network, found.about
    data = datasets.load(about["task"], about["reading"], network.model.dtype, **about["options"])
    cause = "has the text, or Python's own, changed since?"
    if list(data.symbols) != about["symbols"] or list(data.outputs.symbols) != about["output_symbols"]:
        raise InvalidInput(mismatch(f"symbols of {about['task']}", "those of the file", "others", cause))
    if tested and _fingerprint(data) != about["data"]:
        raise InvalidInput(mismatch(f"test data of {about['task']}", "that of the file", "another", cause))
    wanted = (data.outputs.readout, data.outputs.size, data.outputs.loss)
    got = (network.readout, network.readout_size, network.loss)
    if wanted != got:
        raise InvalidInput(mismatch(f"readout, its size and loss in {path}", f"{wanted} of {data.task}", got))
    return found, data


def _require_one_backend(options: Namespace) -> None:
    names = dict.fromkeys(options.backend or ())
    if len(names) > 1:
        raise InvalidInput(mismatch("--backend", "one", ", ".join(names)))


def _temperature(options: Namespace) -> float:
    """0 stands for greedy."""
    given = options.temperature
    if options.greedy and given:
        raise InvalidInput(mismatch("--temperature", "none beside --greedy, which is 0", given))
    return 0.0 if options.greedy else TEMPERATURE if given is None else given


def generate_command(options: Namespace, name: str) -> int:
    """Continue a text."""
    _require_one_backend(options)
    temperature = _temperature(options)
    found = saved.load(Path(options.file))
    network, symbols = found.network, found.about["symbols"]
    if network.readout != "every_step" or symbols != found.about["output_symbols"] or network.model.bidirectional:
        got = f"a{' bidirectional' * network.model.bidirectional} network of the task {found.about['task']}"
        raise InvalidInput(mismatch(options.file, "a network that continues what it reads, as of the task text", got))
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    prompt = options.prompt or ("\n" if "\n" in numbers else symbols[0])
    if unknown := next((character for character in prompt if character not in numbers), None):
        raise InvalidInput(mismatch("--prompt", f"characters of {''.join(symbols)!r}", repr(unknown)))
    start = np.array([numbers[character] for character in prompt])
    arguments = (registry.load(name), network, found.params, start, options.length, temperature, options.seed)
    text = "".join(symbols[number] for number in decoding.generate(*arguments))
    if options.json:
        print(records.dumps({"prompt": prompt, "text": text, "temperature": temperature, "backend": name}))
    else:
        console.line(prompt + text, keep="\n\t")
    return 0


def predict_command(options: Namespace, name: str) -> int:
    """What a network says to inputs of the user, or to the test data, with its score."""
    _require_one_backend(options)
    found, data = load(options.file, tested=not options.input)
    backend, network = registry.load(name), found.network
    if options.input and (data.display.encode is None or data.display.decode is None):
        raise InvalidInput(mismatch("input", f"none, as {data.task} has nothing to type", " ".join(options.input)))
    batch = data.test
    if options.input and data.display.encode:
        batch = datasets.cast(data.display.encode(options.input), network.model.dtype)
    if network.has_decoder:
        prediction = decoding.greedy(backend, network, found.params, batch)
    else:
        prediction, _ = backend.predict(network, found.params, batch)
    lines = (
        data.display.decode(prediction, batch)
        if data.display.decode
        else [f"{value:.6f}" for value in prediction.ravel()]
    )
    if options.json:
        facts = (
            {}
            if options.input
            else {"metric": data.scoring.metric.name, "score": data.scoring.score(prediction, batch)}
        )
        print(records.dumps({"task": data.task, "backend": name, "inputs": options.input, "says": lines, **facts}))
        return 0
    if options.input:
        console.table(
            f"{data.task}, {network.model.cell}, {name}",
            ("input", "prediction"),
            zip(options.input, lines, strict=True),
        )
        return 0
    _print_test(data, batch, prediction, lines, name)
    return 0


def _print_test(data: Dataset, batch: Batch, prediction: np.ndarray, lines: list[str], name: str) -> None:
    score = data.scoring.score(prediction, batch)
    console.line(f"{data.task}, {data.reading}, on the test data in {name}: {data.scoring.metric.name} {score:.6g}")
    console.line(f"without learning ({data.scoring.baseline.text}): {data.scoring.baseline.value:.6g}")
    first = f"The first {min(SHOWN, len(lines))} of {len(lines)} predictions:"
    console.line("\n  ".join([first, *lines[:SHOWN]]), keep="\n\t")
    sys.stdout.flush()
