"""What ``rosetta check FILE`` prints: the problem, a table, what failed and where, and the verdict."""

import textwrap
from collections.abc import Sequence

from common.cli import console
from common.equivalence.comparison import COMPLEX_STEP, EXPECTED, FAILED, ORACLES, Row
from common.equivalence.ladder import Rung
from common.equivalence.reproduce import row_command
from common.equivalence.tally import used
from common.proof.causes import explanation
from common.proof.diagnosis import Compared, Diagnosis, axes, by_layer, chosen, diagnose, place_text
from common.proof.outcome import compared, participants, verdict
from common.proof.subject import Subject
from common.proof.trials import NARROWER, Trial
from common.record_types import Check
from common.study.certificate import HISTOGRAM, Failure

WIDTH, MOST = 80, 6
CHECKS = {"forward": "outputs", "gradient": "gradients", COMPLEX_STEP: "complex step"}


def paragraph(text: str, indent: str = "") -> None:
    """A paragraph of at most 80 columns, whose words are never broken."""
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    console.line(wrap.fill(text))


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
        return f"{failed}/{len(against_exact)} FAILED"
    between = sum(row["verdict"] == FAILED and not _is_blamed(row, name, rows) for row in own)
    return f"{between} FAILED in pairs" if between else "agrees"


def _is_blamed(row: Check, name: str, rows: Sequence[Check]) -> bool:
    """Whether the other participant of a failed pair fails against the exact result too."""
    other = row["b"] if row["a"] == name else row["a"]
    return any(one["a"] == other and one["b"] in ORACLES and one["verdict"] == FAILED for one in rows)


def failures(found: Sequence[Compared], subject: Subject | None = None) -> tuple[list[Failure], int]:
    """Where the comparisons failed that say most, in words, and how many more there are like them.

    With the subject of a check, the failures say what would explain them and which command repeats them.
    """
    worst = [(trial, rung, row) for trial in found for rung, row in chosen(trial)]
    begun: set[tuple[str, str, str]] = set()
    shown = []
    for trial, rung, row in worst[:MOST]:
        one = _failure(trial, diagnose(trial, rung, row))
        group = (row.a, row.check, row.variant.spec.dtype)
        if group in begun:
            one["histogram"] = []
        elif subject is not None and isinstance(trial, Trial):
            one["cause"], one["again"] = _cause(subject, found, trial, rung, row), row_command(row.record())
        begun.add(group)
        shown.append(one)
    return shown, len(worst) - len(shown)


def _cause(subject: Subject, found: Sequence[Compared], trial: Trial, rung: Rung, row: Row) -> str:
    """What would explain wrong outputs, as a sentence; "" where nothing is known."""
    if row.check != "forward":
        return ""
    if row.a == EXPECTED:
        trials = [one for one in found if isinstance(one, Trial)]
        held = {other.variant.spec.dtype for one in trials for other in one.rows if other.a == EXPECTED}
        if NARROWER in held and trial.variant.spec.dtype != NARROWER:
            text = f"most errors are no larger than rounding in {NARROWER}, so it was computed in {NARROWER}: "
            return f"What would explain it: {text}cast y, or use --dtype {NARROWER}."
        cause = explanation(trial, subject.layer.layout, rung.results[EXPECTED], rung.bounds)
        return f"What would explain it: {cause}." if cause else "No mistake that is known here explains it."
    text = by_layer(trial, row.a)
    return f"Layer by layer: {text}." if text else ""


def _failure(trial: Compared, found: Diagnosis) -> Failure:
    row = found.row
    bound = f"{row.measured.tolerance:.2g}" if row.measured.tolerance == row.measured.tolerance else "any bound"
    counted = f"{found.beyond:,} of {found.elements:,} elements differ by more than {bound}; the worst:"
    digits = {"float64": 17, "float32": 9}.get(row.variant.spec.dtype, 6)
    return Failure(
        title=f"{row.variant.spec.dtype} {CHECKS[row.check]}, {row.quantity}: {row.a} against {row.b}",
        reasons=[*([row.decision.reason] if row.decision.reason else []), counted],
        columns=[", ".join(axes(trial, row.quantity) or ("index",)), row.a, row.b],
        elements=[
            [place_text(trial, row.quantity, one.place), f"{one.a:.{digits}g}", f"{one.b:.{digits}g}"]
            for one in found.worst
        ],
        places=[f"{text if text.startswith('dx') else text[0].upper() + text[1:]}." for text in found.places],
        histogram=list(found.histogram),
        cause="",
        again="",
    )


def print_failures(shown: Sequence[Failure], more: int) -> None:
    for one in shown:
        console.line(f"FAILED {one['title']}")
        for text in one["reasons"]:
            paragraph(f"  {text}", "  ")
        lines = [one["columns"], *one["elements"]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            console.line("  " + "  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)))
        for text in one["places"]:
            paragraph(f"  {text}", "  ")
        if one["histogram"]:
            console.line(f"  {HISTOGRAM}:")
        for line in one["histogram"]:
            console.line(f"  {line}"[:WIDTH])
        if one["cause"]:
            paragraph(f"  {one['cause']}", "  ")
        if one["again"]:
            paragraph(f"  again: {one['again']}", "    ")
    if more:
        console.line(f"... and {more} more like these; --json lists every comparison")


def print_verdict(subject: Subject, rows: Sequence[Check], origin: Sequence[str], lost: Sequence[str] = ()) -> None:
    paragraph(verdict(subject, rows, lost))
    for sentence in compared(rows, origin):
        paragraph(sentence)
