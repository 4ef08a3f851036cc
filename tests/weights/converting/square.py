"""Every conversion between the formats, each proved as ``rosetta convert`` does it; not part of the suite.

    python -m tests.weights.converting.square --cells LSTM,GRU-before --dtypes float64 --from torch,keras

For each cell and dtype, a model is made in the library that owns a format, saved, and converted to every format: the
new file is run by the library that owns it and compared with the source in its own, with our NumPy implementation and
with the exact result. Prints a matrix, sources down and targets across:

    =   proved                            r   the target cannot hold the model, and nothing was written
    u   held, but no library can run it   ?   undecided           F   failed
"""

import argparse
import logging
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

from common.backend.contract import Problem
from common.equivalence import rounding
from common.equivalence.tally import tally
from common.errors import BackendMissing, InvalidInput, InvalidType, NotEquivalent
from common.model.spec import ModelSpec
from common.proof import conversion
from common.proof.subject import Subject, open_subject
from common.weights.source import Found
from common.weights.targets import TARGETS
from common.weights.writing import Written, written
from tests.weights.converting.sources import CASES, holds, make, spec_of, told

WIDTH = 80
USUAL = tuple(name for name in CASES if name not in ("LSTM-no-bias", "LSTM1997"))
PROVED, REFUSED, UNRUN, UNDECIDED, FAILED = "=", "r", "u", "?", "F"


# What JAX has traced for a library and a model; the weights are arguments of it.
TRACED: dict[tuple[Any, ...], tuple[Any, Any]] = {}


class Outcome(NamedTuple):
    """One letter, and the reason where it is not a proof."""

    letter: str
    reason: str = ""


def converted(subject: Subject, source: conversion.End | None, target: str, folder: Path) -> Outcome:
    """Write one target, and prove it."""
    out = folder / f"to-{target}{TARGETS[target].suffix}"
    try:
        with written(out, target, subject.spec, subject.layer.params) as made:
            return proved(subject, source, made)
    except NotEquivalent as error:
        return Outcome(FAILED, str(error))
    except (InvalidInput, InvalidType) as error:
        return Outcome(REFUSED, str(error))


def proved(subject: Subject, source: conversion.End | None, made: Written) -> Outcome:
    try:
        target = conversion.target_end(made.path, made.target.peer, made.layer)
    except (BackendMissing, InvalidInput) as error:
        return Outcome(UNRUN, str(error))
    proof = conversion.prove(subject, None, source, traced_once(target), 0, lambda what: None)
    counts = tally(row.record() for row in proof.rows)
    if counts.equivalent:
        return Outcome(PROVED)
    bad = [row for row in proof.rows if row.verdict == "failed"]
    text = "; ".join(f"{row.check} {row.quantity} {row.a} – {row.b}: {row.measured.error:.2g}" for row in bad[:3])
    if counts.failed:
        return Outcome(FAILED, f"{counts.failed} of {counts.compared}: {text}")
    return Outcome(UNDECIDED, f"unseen: {', '.join(' '.join(key) for key in counts.unseen[:3])}")


@contextmanager
def exact_once() -> Iterator[None]:
    """The exact result for a source is that for all of its targets."""
    known: dict[Any, Any] = {}

    def answers(spec: ModelSpec, problem: Problem, seed: int) -> Any:
        arrays = (*problem.params.values(), problem.x, *(problem.state0 or ()), problem.dy, *problem.dstate)
        key = repr(spec), seed, *(array.tobytes() for array in arrays), repr(problem.lengths)
        if key not in known:
            known[key] = rounding.answers(spec, problem, seed)
        return known[key]

    with patch.object(conversion, "answers", answers):
        yield


def traced_once(end: conversion.End) -> conversion.End:
    """With what has been traced for a file of the same model under the same names."""
    loaded: Any = end.loaded
    if hasattr(loaded, "_vjp"):
        key = end.peer.name, end.layer.spec, end.layer.layout, repr(end.layer.where)
        loaded._forward, loaded._vjp = TRACED.setdefault(key, (loaded._forward, loaded._vjp))
    return end


def square(case: str, dtype: str, rows: Sequence[str], columns: Sequence[str]) -> dict[tuple[str, str], Outcome]:
    """(source, target) -> what came of it, for the sources that can hold the model."""
    spec, found = spec_of(case, dtype), {}
    for name in (name for name in rows if holds(name, spec)):
        with TemporaryDirectory() as folder:
            subject = open_subject(make(name, spec, Path(folder)), None, **told(spec))
            require_source(subject.layer, dtype)
            source, note = conversion.source_end(subject)
            if source is None:
                print(textwrap.fill(f"{name}: {note}", WIDTH, subsequent_indent="  "))
            start = time.perf_counter()
            row = {(name, target): converted(subject, source, target, Path(folder)) for target in columns}
        letters = "".join(outcome.letter for outcome in row.values())
        print(f"{case} {dtype} from {name}: {letters}, {time.perf_counter() - start:.0f} s", flush=True)
        found |= row
    return found


def require_source(layer: Found, dtype: str) -> None:
    assert layer.spec is not None
    assert (layer.spec.num_layers, layer.spec.bidirectional, layer.spec.dtype) == (2, True, dtype), layer.spec
    assert all(value.any() for name, value in layer.params.items() if name.startswith("bias_ih"))


def matrix(found: dict[tuple[str, str], Outcome], columns: Sequence[str]) -> str:
    numbers = {name: k for k, name in enumerate(TARGETS, 1)}
    lines = [" " * 20 + "".join(f"{numbers[name]:>3}" for name in columns)]
    for name in dict.fromkeys(source for source, _ in found):
        letters = "".join(f"{found[name, target].letter:>3}" for target in columns)
        lines.append(f"{numbers[name]:>2} {name:<17}{letters}")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", default=",".join(USUAL), help=f"some of {', '.join(USUAL)}")
    parser.add_argument("--dtypes", default="float32,float64")
    parser.add_argument("--from", dest="rows", default=",".join(TARGETS), help="formats of the sources")
    parser.add_argument("--to", dest="columns", default=",".join(TARGETS), help="formats of the targets")
    options = parser.parse_args(words)
    logging.getLogger("absl").setLevel(logging.ERROR)
    rows, columns = options.rows.split(","), options.columns.split(",")
    totals: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for case, dtype in product(options.cells.split(","), options.dtypes.split(",")):
        with exact_once():
            found = square(case, dtype, rows, columns)
        print(f"\n{case} {dtype}\n{matrix(found, columns)}\n", flush=True)
        for outcome in found.values():
            totals[outcome.letter] = totals.get(outcome.letter, 0) + 1
            if outcome.reason:
                text = f"{outcome.letter} {outcome.reason}"
                reasons[text] = reasons.get(text, 0) + 1
    words_of = {PROVED: "proved", REFUSED: "refused", UNRUN: "not run", UNDECIDED: "undecided", FAILED: "failed"}
    print("\n" + ", ".join(f"{totals.get(letter, 0)} {word}" for letter, word in words_of.items()))
    for text, count in sorted(reasons.items()):
        print(textwrap.fill(f"{count:>4} {text}", WIDTH, subsequent_indent=" " * 7))
    return 1 if totals.get(FAILED) or totals.get(UNDECIDED) else 0


if __name__ == "__main__":
    raise SystemExit(main())
