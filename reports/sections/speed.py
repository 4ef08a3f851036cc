"""From benchmark records to ratios with their intervals."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from common.backend.registry import DEFAULT
from common.record_types import Bench, Record
from common.records import of_kind
from common.study.bench import SIZES as NAMED_SIZES
from common.study.bench import Ratio, median, ratio
from reports.page import plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import digits, interval, milliseconds, times
from reports.results.verdict import names

CASE = ("cell", "steps", "batch", "input_size", "hidden_size", "dtype", "backward", "seed")
SIZE = ("steps", "batch", "input_size", "hidden_size")
QUIET = (0.8, 1.2)
OURS, THEIRS = "jax", "flax"


class Case(NamedTuple):
    """One case: its reference arm, and all of its arms by label."""

    reference: Bench
    arms: dict[str, Bench]

    def ratio(self, label: str) -> Ratio:
        return ratio(self.arms[label]["seconds"], self.reference["seconds"])

    @property
    def noise(self) -> Ratio | None:
        """The reference a second time, compared with itself."""
        label = next((arm for arm, record in self.arms.items() if is_again(record)), None)
        return self.ratio(label) if label else None

    @property
    def size(self) -> str:
        values = tuple(self.reference[key] for key in SIZE)
        name = next((name for name, size in NAMED_SIZES.items() if size == values), "")
        return f"{name} {values}".strip()

    @property
    def work(self) -> str:
        return "forward + backward" if self.reference["backward"] else "forward"

    @property
    def label(self) -> str:
        return f"{self.reference['cell']}, {self.size}, {self.work}"


def is_again(record: Bench) -> bool:
    """Whether this is the A/A arm."""
    return record["arm"] != record["backend"] and record["backend"] == record["reference"]


def cases(records: Sequence[Record]) -> list[Case]:
    """The cases whose reference arm is present; a file that was cut off can lack it."""
    groups: dict[tuple, dict[str, Bench]] = defaultdict(dict)
    for record in of_kind(records, Bench):
        groups[tuple(record[key] for key in CASE)][record["arm"]] = record
    timed = []
    for arms in groups.values():
        name = next(iter(arms.values()))["reference"]
        if name in arms:
            timed.append(Case(arms[name], arms))
    return timed


def speed_section(records: Sequence[Record]) -> Section | None:
    """Ratios to the reference, the noise, throughput and the first call."""
    timed = cases(records)
    if not timed:
        return None
    reference = timed[0].reference["arm"]
    rounds = len(timed[0].reference["seconds"])
    paragraphs = [
        "Each arm, one implementation, runs in a process of its own. A round times every arm once, in random order. "
        f"The ratio to {reference} is taken round by round; the median of {rounds} rounds is given, with the 95% "
        "interval of that median in brackets (the range, below 6 rounds). Below 1x is faster.",
        *_noise(timed),
        "GFLOP/s counts the matrix products alone. The first call includes compilation and is not part of the other "
        "numbers.",
    ]
    tables = [_time_table(timed)]
    if against := _against_library(timed):
        tables.append(against)
    tables.append(_arm_table(timed))
    pictures = (_plot(timed),) if any(len(case.arms) > 1 for case in timed) else ()
    return Section(
        anchor="speed",
        title="Speed",
        paragraphs=tuple(paragraphs),
        plots=pictures,
        tables=tuple(tables),
        commands=_commands(timed),
    )


def _noise(timed: Sequence[Case]) -> list[str]:
    spans = [case.noise for case in timed if case.noise]
    if not spans:
        return []
    wide = [span for span in spans if span.low < QUIET[0] or span.high > QUIET[1]]
    low, high = times(min(span.low for span in spans))[:-1], times(max(span.high for span in spans))
    text = (
        "The A/A arm is the reference a second time: its ratio would be 1x on a quiet machine, and its interval is "
        f"the noise floor. Over all cases it spans {low} to {high}."
    )
    if wide:
        text += (
            f" In {len(wide)} of {len(spans)} cases it is wider than ±20%: the machine was noisy. In these cases, "
            "do not trust a difference whose interval overlaps that of the A/A arm."
        )
    return [text]


def _others(case: Case) -> list[str]:
    return [label for label in case.arms if label != case.reference["arm"]]


def _plot(timed: Sequence[Case]) -> Plot:
    labels = list(dict.fromkeys(label for case in timed for label in case.arms))
    every = [case.ratio(label) for case in timed for label in _others(case)]
    limits = (min(0.5, *(r.low / 1.3 for r in every)), max(2.0, *(r.high * 1.3 for r in every)))
    panels, rows = [], []
    for number, case in enumerate(case for case in timed if len(case.arms) > 1):
        arms = [
            (label, -1 if is_again(case.arms[label]) else labels.index(label), case.ratio(label))
            for label in _others(case)
        ]
        ratios = "; ".join(f"{label} {interval(value)}" for label, _, value in arms)
        alt = f"{case.label}: time relative to {case.reference['arm']}, median and 95% interval. {ratios}."
        panels.append(Panel(plots.ratios(f"speed{number}", case.label, alt, arms, case.noise, limits), alt))
        rows += [(case.label, label, *(f"{part:.3g}" for part in value)) for label, _, value in arms]
    columns = ("Case", "Arm", "Median ratio", "Low", "High")
    table = Table("The ratios in the plots", columns, tuple(rows), numbers=range(2, len(columns)))
    legend = (Key("--ink", f"1x: {case_reference(timed)}", "│"), Key("--band", "noise: the interval of the A/A arm"))
    return Plot(f"Time relative to {case_reference(timed)}, on a log axis", tuple(panels), legend, table)


def case_reference(timed: Sequence[Case]) -> str:
    return timed[0].reference["arm"]


def _time_table(timed: Sequence[Case]) -> Table:
    rows = []
    for case in timed:
        for label, record in case.arms.items():
            seconds = median(record["seconds"])
            rate = digits(record["flops"] / seconds / 1e9)
            place = (record["cell"], case.size, record["dtype"], case.work, label)
            relative = "1 (reference)" if record is case.reference else interval(case.ratio(label))
            rows.append((*place, relative, milliseconds(seconds), rate, digits(record["first_call"], 2)))
    reference = f"Time / {case_reference(timed)} [95%]"
    columns = ("Cell", "Size (T, B, I, H)", "Dtype", "Pass", "Arm", reference, "Median ms", "GFLOP/s", "First call, s")
    return Table("Ratios, times, throughput and first calls", columns, tuple(rows), numbers=range(5, len(columns)))


def _against_library(timed: Sequence[Case]) -> Table | None:
    """Our JAX implementation against the library's cells, in the same rounds."""
    rows = tuple(
        (case.reference["cell"], case.size, case.work, interval(compared(case, OURS, THEIRS)))
        for case in timed
        if OURS in case.arms and THEIRS in case.arms
    )
    columns = ("Cell", "Size (T, B, I, H)", "Pass", f"{OURS} / {THEIRS}")
    return (
        Table(
            f"Ours against the library: the time of {OURS} over that of {THEIRS}",
            columns,
            rows,
            numbers=range(3, len(columns)),
        )
        if rows
        else None
    )


def compared(case: Case, label: str, reference: str) -> Ratio:
    return ratio(case.arms[label]["seconds"], case.arms[reference]["seconds"])


def _arm_table(timed: Sequence[Case]) -> Table:
    arms = {label: record for case in timed for label, record in case.arms.items()}
    rows = tuple((label, _kernels(r["environment"]), _threads(r["environment"])) for label, r in arms.items())
    return Table("What each arm ran on", ("Arm", "Device and kernels", "Threads"), rows)


def _kernels(environment: Mapping[str, Any]) -> str:
    facts = [environment.get("device", ""), environment.get("cpu_capability", "")]
    blas = environment.get("blas") or {}
    facts += [" ".join(str(blas[key]) for key in ("internal_api", "version", "architecture") if key in blas)]
    return ", ".join(str(fact) for fact in facts if fact) or "not recorded"


def _threads(environment: Mapping[str, Any]) -> str:
    blas = environment.get("blas") or {}
    return str(environment.get("threads", blas.get("num_threads", "left to the library")))


def _commands(timed: Sequence[Case]) -> tuple[str, ...]:
    rows = [case.reference for case in timed]
    backends = list(dict.fromkeys(record["backend"] for case in timed for record in case.arms.values()))
    sizes = {tuple(row[key] for key in SIZE) for row in rows}
    chosen = {
        "--cell": names(rows, "cell"),
        "--size": [name for name, size in NAMED_SIZES.items() if size in sizes],
        "--dtype": names(rows, "dtype"),
        "--backend": backends if set(backends) != set(DEFAULT) else [],
        "--rounds": [str(len(rows[0]["seconds"]))],
        "--seed": [str(rows[0]["seed"])],
    }
    return (
        shlex.join(["rosetta", "bench", *(word for flag in chosen for name in chosen[flag] for word in (flag, name))]),
    )
