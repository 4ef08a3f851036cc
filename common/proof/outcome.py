"""The verdict on the weights of a file, in a sentence, and what was compared, from the rows of its trials."""

from collections.abc import Iterable, Iterator, Sequence

from common.equivalence.comparison import COMPLEX_STEP, EXACT, FAILED, ORACLES, PASSED, UNDECIDED
from common.equivalence.tally import passed_resolutions, tally
from common.proof.subject import Subject
from common.record_types import Check


def participants(rows: Iterable[Check]) -> list[str]:
    """Who was compared, apart from the exact result and the complex step."""
    sides = dict.fromkeys(side for row in rows for side in (row["a"], row["b"]))
    return [name for name in sides if name not in ORACLES]


def unseen(rows: Sequence[Check]) -> list[str]:
    """What no comparison could have shown to be wrong: results that were decided in no dtype, and whose they are.

    The dtypes share weights and inputs, so that a result which 16 bits round too coarsely is decided by another.
    """
    decided = {
        (side, row["check"], row["quantity"])
        for row in rows
        for side in (row["a"], row["b"])
        if row["verdict"] in (PASSED, FAILED)
    }
    keys = tally(rows).unseen
    return [f"{quantity} of {name}" for name, check, *_, quantity in keys if (name, check, quantity) not in decided]


def is_proved(rows: Sequence[Check], lost: Sequence[str] = ()) -> bool:
    """Whether something was compared, nothing failed, and nothing went unseen."""
    counted = tally(rows)
    return bool(counted.compared) and not counted.failed and not unseen(rows) and not lost


def verdict(subject: Subject, rows: Sequence[Check], lost: Sequence[str] = ()) -> str:
    """The verdict in one sentence. ``lost`` were asked for and not compared."""
    counted, names = tally(rows), participants(rows)
    dtypes = _listed(list(dict.fromkeys(row["dtype"] for row in rows)))
    if not rows:
        return f"Not proved: nothing was compared on {subject.name}."
    if counted.failed:
        own = {name: _failed_quantities(name, rows) for name in names}
        wrong = [f"{name} in {_shortened(quantities)}" for name, quantities in own.items() if quantities]
        text = f"Not equivalent on {subject.name}: {counted.failed} of {counted.compared} comparisons failed"
        return f"{text}; against the exact result {_listed(wrong)}." if wrong else f"{text}, all between pairs."
    if unseen(rows) or lost:
        what = _shortened(unseen(rows) + [f"anything of {name}" for name in lost])
        return f"Not proved on {subject.name}: no comparison could have shown an error in {what}."
    verb = "agree" if len(names) > 1 else "agrees"
    text = f"Equivalent: {_listed(names)} {verb} on {subject.name} to within rounding in {dtypes}"
    return f"{text}: {counted.compared} comparisons, none failed{_undecided(rows)}."


def _undecided(rows: Sequence[Check]) -> str:
    """How many comparisons decide nothing, and in which dtypes."""
    open_ones = [row["dtype"] for row in rows if row["verdict"] == UNDECIDED]
    where = _listed(list(dict.fromkeys(open_ones)))
    return f", {len(open_ones)} undecided in {where}, which rounds too coarsely for them" if open_ones else ""


def _failed_quantities(name: str, rows: Sequence[Check]) -> list[str]:
    failed = (row for row in rows if row["verdict"] == FAILED and row["a"] == name and row["b"] in ORACLES)
    return list(dict.fromkeys(row["quantity"] for row in failed))


def _shortened(names: Sequence[str], most: int = 6) -> str:
    shown = list(dict.fromkeys(names))
    return _listed(shown[:most]) if len(shown) <= most else f"{', '.join(shown[:most])} and {len(shown) - most} more"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_guest(row: Check) -> bool:
    """Whether a row is about what was recorded, or about the library that owns the format."""
    return "file" in row and row["a"] in row["file"]["guests"]


def compared(rows: Sequence[Check], origin: Sequence[str]) -> Iterator[str]:
    """What was compared, on what, and how small an error would have been noticed, in sentences."""
    outputs = dict.fromkeys(row["quantity"] for row in rows if row["check"] == "forward")
    grads = [row["quantity"] for row in rows if row["check"] == "gradient" and row["b"] == EXACT and not _is_guest(row)]
    text = f"Compared: {_listed(list(outputs))}" if outputs else "Compared: nothing"
    if grads:
        ends = list(dict.fromkeys(name for name in grads if name == "dx" or name.endswith("_0")))
        text += f"; {len(set(grads) - set(ends))} gradients of parameters, {_listed(ends)} for random cotangents"
    if any(row["check"] == COMPLEX_STEP for row in rows):
        text += "; gradients along random directions with the complex step"
    yield f"{text}. On {'; '.join(origin)}."
    if passed_resolutions(rows):
        by_dtype = {
            dtype: passed_resolutions([row for row in rows if row["dtype"] == dtype])
            for dtype in dict.fromkeys(row["dtype"] for row in rows)
        }
        worst = [f"{2 * max(values):.1g} in {dtype}" for dtype, values in by_dtype.items() if values]
        text = "Every comparison that passed would have failed for an error, relative to the largest value, of "
        yield f"{text}{_listed(worst)}."
