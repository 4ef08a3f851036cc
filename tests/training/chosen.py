"""What ``rosetta train`` would run with the words of a command line, or with a file of settings."""

from pathlib import Path
from typing import Any

from common.cli import parse
from common.cli.train import chosen_settings
from common.model.run import RunSpec
from common.training import settings

TINY = ["--set", "train=6", "--set", "validation=2", "--set", "test=2"]
STREAMS = ["--set", "streams=4", "--set", "chunk=20"]


def write(folder: Path, text: str) -> str:
    path = folder / "settings.toml"
    path.write_text(text)
    return str(path)


def given(*words: str) -> dict[str, Any]:
    return chosen_settings(parse(["train", *words]))


def runs(*words: str) -> list[RunSpec]:
    return [run for _, run in settings.resolve(given(*words))]


def run_of(*words: str) -> RunSpec:
    (run,) = runs(*words)
    return run
