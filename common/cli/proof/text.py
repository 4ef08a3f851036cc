"""What ``rosetta check FILE`` prints: the problem, a table, what failed and where, and the verdict."""

import textwrap
from collections.abc import Sequence

from common.cli import console
from common.equivalence.comparison import COMPLEX_STEP, EXPECTED, FAILED, ORACLES
from common.equivalence.ladder import Rung
from common.equivalence.reproduce import row_command
from common.equivalence.tally import used
from common.proof.causes import explanation
from common.proof.diagnosis import Diagnosis, axes, by_layer, chosen, diagnose, place_text
from common.proof.outcome import compared, participants, verdict
from common.proof.subject import Subject
from common.proof.trials import NARROWER, Trial
from common.record_types import Check

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


def print_failures(subject: Subject, found: Sequence[Trial]) -> None:
    """Where the comparisons failed that say most."""
    shown = [(trial, rung, row) for trial in found for rung, row in chosen(trial)]
    begun: set[tuple[str, str, str]] = set()
    for trial, rung, row in shown[:MOST]:
        group = (row.a, row.check, row.variant.spec.dtype)
        is_first = group not in begun
        begun.add(group)
        _print_diagnosis(trial, diagnose(trial, rung, row), is_first)
        if not is_first:
            continue
        if row.check == "forward":
            if row.a == EXPECTED:
                cause = _cause(subject, found, trial, rung)
                text = f"What would explain it: {cause}" if cause else "No mistake that is known here explains it"
                paragraph(f"  {text}.", "  ")
            elif text := by_layer(trial, row.a):
                paragraph(f"  Layer by layer: {text}.", "  ")
        paragraph(f"  again: {row_command(row.record())}", "    ")
    if len(shown) > MOST:
        console.line(f"... and {len(shown) - MOST} more like these; --json lists every comparison")


def _cause(subject: Subject, found: Sequence[Trial], trial: Trial, rung: Rung) -> str:
    """What would explain a wrong recording, in words; "" if nothing that is known does."""
    other = {row.variant.spec.dtype for one in found for row in one.rows if row.a == EXPECTED}
    if NARROWER in other and trial.variant.spec.dtype != NARROWER:
        text = f"most errors are no larger than rounding in {NARROWER}, so it was computed in {NARROWER}: "
        return f"{text}cast y, or use --dtype {NARROWER}"
    return explanation(trial, subject.layer.layout, rung.results[EXPECTED], rung.bounds)


def _print_diagnosis(trial: Trial, found: Diagnosis, with_histogram: bool) -> None:
    row = found.row
    console.line(f"FAILED {row.variant.spec.dtype} {CHECKS[row.check]}, {row.quantity}: {row.a} against {row.b}")
    if row.decision.reason:
        paragraph(f"  {row.decision.reason}", "  ")
    bound = f"{row.measured.tolerance:.2g}" if row.measured.tolerance == row.measured.tolerance else "any bound"
    console.line(f"  {found.beyond:,} of {found.elements:,} elements differ by more than {bound}; the worst:")
    names = axes(trial, row.quantity) or ("index",)
    shown = [place_text(trial, row.quantity, one.place) for one in found.worst]
    head = ", ".join(names)
    width = max([len(head), *map(len, shown)])
    digits = {"float64": 17, "float32": 9}.get(row.variant.spec.dtype, 6)
    left = max(len(row.a), digits + 7)
    console.line(f"  {head:>{width}}  {row.a:>{left}}  {row.b:>{left}}")
    for place, one in zip(shown, found.worst, strict=True):
        console.line(f"  {place:>{width}}  {one.a:>{left}.{digits}g}  {one.b:>{left}.{digits}g}")
    for text in found.places:
        paragraph(f"  {text if text.startswith('dx') else text[0].upper() + text[1:]}.", "  ")
    if with_histogram:
        console.line("  The errors by size; the length of a bar is logarithmic:")
    for line in found.histogram if with_histogram else ():
        console.line(f"  {line}"[:WIDTH])


def print_verdict(subject: Subject, rows: Sequence[Check], origin: Sequence[str], lost: Sequence[str] = ()) -> None:
    paragraph(verdict(subject, rows, lost))
    for sentence in compared(rows, origin):
        paragraph(sentence)
