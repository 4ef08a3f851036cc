"""What ``rosetta check FILE`` prints: the problem, a table, what failed and where, and the verdict."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from common.cli import console
from common.equivalence.comparison import COMPLEX_STEP, EXACT, EXPECTED, FAILED, ORACLES
from common.equivalence.reproduce import row_command
from common.equivalence.tally import Tally, passed_resolutions, tally, used
from common.proof.causes import explanation
from common.proof.diagnosis import Diagnosis, axes, by_layer, chosen, diagnose
from common.proof.subject import Subject
from common.proof.trials import Trial
from common.record_types import Check

WIDTH, MOST = 80, 6
CHECKS = {"forward": "outputs", "gradient": "gradients", COMPLEX_STEP: "complex step"}


def paragraph(text: str, indent: str = "") -> None:
    """A paragraph of at most 80 columns, whose words are never broken."""
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    console.line(wrap.fill(text))


def participants(rows: Iterable[Check]) -> list[str]:
    """Who was compared, apart from the exact result and the complex step."""
    sides = dict.fromkeys(side for row in rows for side in (row["a"], row["b"]))
    return [name for name in sides if name not in ORACLES]


def print_table(rows: Sequence[Check]) -> None:
    """A line for each dtype and participant: the worst error over tolerance against the exact result."""
    lines = []
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        of_dtype = [row for row in rows if row["dtype"] == dtype]
        for name in participants(of_dtype):
            own = [row for row in of_dtype if row["a"] == name and row["b"] in ORACLES]
            worst = [[used(row) for row in own if row["check"] == check] for check in CHECKS]
            figures = [f"{max(ratios):.2g}" if ratios else "–" for ratios in worst]
            lines.append((dtype, name, *figures, _outcome(name, of_dtype)))
    title = "Worst error over tolerance, against the exact result"
    console.table(title, ("dtype", "implementation", *CHECKS.values(), "verdict"), lines, numeric=[*CHECKS.values()])


def _outcome(name: str, rows: Sequence[Check]) -> str:
    own = [row for row in rows if name in (row["a"], row["b"])]
    against_exact = [row for row in own if row["a"] == name and row["b"] in ORACLES]
    failed = sum(row["verdict"] == FAILED for row in against_exact)
    if failed:
        return f"{failed} of {len(against_exact)} FAILED"
    between = sum(row["verdict"] == FAILED and not _is_blamed(row, name, rows) for row in own)
    return f"{between} FAILED in pairs" if between else "agrees"


def _is_blamed(row: Check, name: str, rows: Sequence[Check]) -> bool:
    """Whether the other participant of a failed pair fails against the exact result too."""
    other = row["b"] if row["a"] == name else row["a"]
    return any(one["a"] == other and one["b"] in ORACLES and one["verdict"] == FAILED for one in rows)


def print_failures(subject: Subject, found: Sequence[Trial]) -> None:
    """Where the comparisons failed that say most."""
    shown = [(trial, rung, row) for trial in found for rung, row in chosen(trial)]
    layered: set[tuple[str, str]] = set()
    for trial, rung, row in shown[:MOST]:
        found_at = diagnose(trial, rung, row)
        _print_diagnosis(trial, found_at)
        if row.check == "forward" and (row.a, row.variant.spec.dtype) not in layered:
            layered.add((row.a, row.variant.spec.dtype))
            if row.a == EXPECTED:
                cause = explanation(trial, subject.layer.layout, rung.results[EXPECTED], rung.bounds)
                text = f"What would explain it: {cause}" if cause else "No mistake that is known here explains it"
                paragraph(f"  {text}.", "  ")
            elif text := by_layer(trial, row.a):
                paragraph(f"  Layer by layer: {text}.", "  ")
        console.line(f"  again: {row_command(row.record())}")
    if len(shown) > MOST:
        console.line(f"... and {len(shown) - MOST} more like these; --json lists every comparison")


def _print_diagnosis(trial: Trial, found: Diagnosis) -> None:
    row = found.row
    console.line(f"FAILED {row.variant.spec.dtype} {CHECKS[row.check]}, {row.quantity}: {row.a} against {row.b}")
    if row.decision.reason:
        paragraph(f"  {row.decision.reason}", "  ")
    bound = f"{row.measured.tolerance:.2g}" if row.measured.tolerance == row.measured.tolerance else "any bound"
    console.line(f"  {found.beyond:,} of {found.elements:,} elements differ by more than {bound}; the worst:")
    names = axes(trial, row.quantity) or ("index",)
    shown = [",".join(map(str, one.place)) for one in found.worst]
    head = ", ".join(names)
    width = max([len(head), *map(len, shown)])
    digits = {"float64": 17, "float32": 9}.get(row.variant.spec.dtype, 6)
    left = max(len(row.a), digits + 7)
    console.line(f"  {head:>{width}}  {row.a:>{left}}  {row.b:>{left}}")
    for place, one in zip(shown, found.worst, strict=True):
        console.line(f"  {place:>{width}}  {one.a:>{left}.{digits}g}  {one.b:>{left}.{digits}g}")
    for text in found.places:
        paragraph(f"  {text[0].upper()}{text[1:]}.", "  ")
    console.line("  The errors by size; the length of a bar is logarithmic:")
    for line in found.histogram:
        console.line(f"  {line}"[:WIDTH])


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
    if counted.unseen or lost:
        what = _shortened([f"{quantity} of {name}" for name, *_, quantity in counted.unseen] + list(lost))
        return f"Not proved on {subject.name}: no comparison could have shown an error in {what}."
    verb = "agree" if len(names) > 1 else "agrees"
    text = f"Equivalent: {_listed(names)} {verb} on {subject.name} to within rounding in {dtypes}"
    return f"{text}: {counted.compared} comparisons, none failed{_undecided(counted)}."


def _undecided(counted: Tally) -> str:
    return f", {counted.undecided} undecided" if counted.undecided else ""


def _failed_quantities(name: str, rows: Sequence[Check]) -> list[str]:
    failed = (row for row in rows if row["verdict"] == FAILED and row["a"] == name and row["b"] in ORACLES)
    return list(dict.fromkeys(row["quantity"] for row in failed))


def _shortened(names: Sequence[str], most: int = 6) -> str:
    shown = list(dict.fromkeys(names))
    return _listed(shown[:most]) if len(shown) <= most else f"{', '.join(shown[:most])} and {len(shown) - most} more"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def compared(rows: Sequence[Check], origin: Sequence[str]) -> Iterator[str]:
    """What was compared, on what, and how small an error would have been noticed, in sentences."""
    outputs = dict.fromkeys(row["quantity"] for row in rows if row["check"] == "forward")
    grads = [row["quantity"] for row in rows if row["check"] == "gradient" and row["b"] == EXACT]
    text = f"Compared: {_listed(list(outputs))}" if outputs else "Compared: nothing"
    if grads:
        ends = list(dict.fromkeys(name for name in grads if name == "dx" or name.endswith("_0")))
        text += f"; {len(set(grads) - set(ends))} gradients of parameters, {_listed(ends)} for random cotangents"
    if any(row["check"] == COMPLEX_STEP for row in rows):
        text += "; gradients along random directions with the complex step"
    yield f"{text}. On {'; '.join(origin)}."
    if passed := passed_resolutions(rows):
        by_dtype = {
            dtype: passed_resolutions([row for row in rows if row["dtype"] == dtype])
            for dtype in dict.fromkeys(row["dtype"] for row in rows)
        }
        worst = [f"{max(values):.1g} in {dtype}" for dtype, values in by_dtype.items() if values]
        yield f"An error of twice {_listed(worst)}, relative to the largest value, would have failed everywhere."
    assert passed is not None


def print_verdict(subject: Subject, rows: Sequence[Check], origin: Sequence[str], lost: Sequence[str] = ()) -> None:
    paragraph(verdict(subject, rows, lost))
    for sentence in compared(rows, origin):
        paragraph(sentence)
