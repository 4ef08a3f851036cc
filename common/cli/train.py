"""``rosetta train``: train a network in one or more backends, compare them, and save it."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from common import signals
from common.backend import registry
from common.cli import console, tables
from common.cli.options import Verbs, add_rows, add_verb, given, load_backends
from common.datasets.task import Dataset
from common.equivalence import ladder
from common.errors import Diverged
from common.model.run import RunSpec
from common.study import runs as study_runs
from common.study.environment import environment
from common.training import settings
from common.training.loop import Progress, Result, train
from common.weights import files


def add(verbs: Verbs) -> None:
    text = "train a network on a task, compare the backends, and save it"
    parser = add_verb(verbs, "train", run, text, "Anything you leave out falls back to the task's default.")
    parser.add_argument("task", nargs="?", help=settings.BY_NAME["task"].help)
    text = "an option of the task, see `rosetta ls tasks`; repeat it for several"
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help=text)
    text = "settings in a file, by the names of these options; options that are given take precedence"
    parser.add_argument("--config", metavar="FILE.toml", help=text)
    text = "folder in which trained networks are saved (default: trained)"
    parser.add_argument("--out", default="trained", metavar="FOLDER", help=text)
    for group in settings.GROUPS:
        add_rows(parser, group, [row for row in settings.SETTINGS if row.group == group and row.name != "task"])


def chosen_settings(options: Namespace) -> dict[str, Any]:
    """The settings of the command line, over those of its configuration file."""
    named = given(options, settings.BY_NAME)
    if named["task"] is None:
        del named["task"]
    return settings.combined(named, dict(settings.pair(text) for text in options.set or ()), options.config)


def run(options: Namespace) -> int:
    """Train in every chosen backend, save what was trained, compare the backends if there are several."""
    chosen = chosen_settings(options)
    names = load_backends(chosen.get("backend", ["numpy"]))
    runs = list(settings.resolve(chosen))
    folder = Path(options.out)
    files.require_folder(folder)
    ended: list[str] = []
    of_task = settings.task_options(chosen)

    def stream() -> Any:
        yield from environment(names)
        for data, run in runs:
            results: dict[str, Result] = {}
            for name in names:
                if arrived:  # between two runs: the next one would be stopped before its first update
                    ended.append(name)
                    return
                results[name] = result = _train_one(name, data, run, stages, lambda: bool(arrived))
                if result.ended == "interrupted":
                    ended.append(name)
                    if not result.losses:
                        return
                path = _path(folder, name, data, run)
                if path.exists():
                    console.message(f"replacing {path}")
                files.write_trained(path, run.network, result.params, _about(name, data, run, result, chosen))
                record = study_runs.training_record(name, data, run, result, of_task)
                record["saved"] = str(path)
                yield record
                if ended:
                    return
            if len(names) > 1:
                yield from (row.record() for row in study_runs.compare_runs(data, run, results, of_task))

    with console.Stages() as stages, signals.interruptible() as arrived:
        rows = console.collect(stream(), options, chosen.get("seed", 0))
    if not options.json:
        tables.print_training(rows)
        if any(record["kind"] == "check" for record in rows):
            tables.print_checks(rows)
    if ended:
        trained = any(record["kind"] == "training" for record in rows)
        outcome = "what was trained so far is saved" if trained else "nothing was trained yet"
        console.message(f"rosetta: {signals.phrase(arrived[0])}; {outcome}")
        return signals.exit_code(arrived[0])
    return 0 if len(names) == 1 or ladder.all_passed(rows) else 1


def _train_one(name: str, data: Dataset, run: RunSpec, stages: console.Stages, stopped: Callable[[], bool]) -> Result:
    """Train in one backend, with a progress bar that shows the loss."""
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
    """The file of a trained network, with a name that says what it is, so that different runs do not overwrite it."""
    model = run.network.model
    words = [data.task, data.reading, model.cell, *([model.dtype] if model.dtype != "float64" else []), backend]
    words += [f"seed{run.seed}"] if run.seed else []
    return folder / ("-".join(word.replace("/", "_").replace(":", "_") for word in words) + ".npz")


def _about(backend: str, data: Dataset, run: RunSpec, result: Result, chosen: dict[str, Any]) -> dict[str, Any]:
    """What a file records about the network in it."""
    return {
        "task": data.task,
        "reading": data.reading,
        "options": _anywhere(settings.task_options(chosen)),
        "symbols": data.symbols,
        "output_symbols": data.outputs.symbols,
        "data": fingerprint(data),
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
    """The options of a task, with the path of its text absolute, so that it is found from any folder."""
    return options | ({"text": str(Path(options["text"]).resolve())} if options.get("text") else {})


def fingerprint(data: Dataset) -> str:
    """A digest of the test symbols, by which another text is noticed; "" for numbers, which round."""
    if not data.symbols:
        return ""
    arrays = (array for array in data.test if isinstance(array, np.ndarray) and array.dtype.kind in "iu")
    return sha256(b"".join(array.astype("<i8").tobytes() for array in arrays)).hexdigest()
