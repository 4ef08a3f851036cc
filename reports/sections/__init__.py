"""The report part by part: a module for each group of sections, put together here in order.

``checks``, ``gradients`` and ``coverage`` show the comparisons; ``curves``, ``one_bias`` and ``drift`` the training
runs; ``choice``, ``tasks``, ``task_pictures``, ``literature``, ``forget_gate`` and ``flow`` (gradients through time)
the tasks; ``speed`` and ``environment`` the timings and what they ran on. ``build`` makes the report and lists what the
records lack.
"""

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from common.printable import printable
from common.record_types import Header, Record
from common.records import of_kind
from reports.page.model import Report, Section
from reports.results.commands import seed_of
from reports.results.verdict import verdict
from reports.sections.checks import heat_section, reading_section, verdict_section
from reports.sections.choice import choice_section
from reports.sections.coverage import coverage_section, resolution_section
from reports.sections.curves import sine_section, training_section
from reports.sections.drift import drift_section
from reports.sections.environment import environment_section
from reports.sections.flow import flow_section
from reports.sections.forget_gate import forget_gate_section
from reports.sections.gradients import gradient_section
from reports.sections.literature import literature_section
from reports.sections.one_bias import one_bias_section
from reports.sections.speed import speed_section
from reports.sections.tasks import task_sections

__all__ = ["build"]

Make = Callable[[Sequence[Record]], Section | list[Section] | None]
# Sections, what they are called if they are missing, and the command that supplies them.
PARTS: tuple[tuple[Make, str, str], ...] = (
    (choice_section, "", ""),
    (reading_section, "", ""),
    (heat_section, "comparisons of implementations, tensor by tensor", "rosetta check"),
    (resolution_section, "resolution of the comparisons", "rosetta check"),
    (coverage_section, "coverage of the options", "rosetta check --configs 200"),
    (gradient_section, "gradients, tensor by tensor", "rosetta check"),
    (sine_section, "the sine wave", "rosetta study"),
    (training_section, "training", "rosetta study"),
    (one_bias_section, "one bias against two", "rosetta study"),
    (task_sections, "the tasks", "rosetta study --full"),
    (literature_section, "", ""),
    (forget_gate_section, "", ""),
    (flow_section, "", ""),
    (drift_section, "", ""),
    (speed_section, "timings", "rosetta bench"),
    (environment_section, "the environment", "rosetta study"),
)


def build(records: Sequence[Record], partial: bool = False) -> Report:
    """Everything the templates need. Control characters in the records are escaped, except line breaks."""
    records = _printable(records)
    sections, missing = [verdict_section(records)], []
    for make, name, command in PARTS:
        part = make(records)
        if part:
            sections += [part] if isinstance(part, Section) else part
        elif name:
            missing.append((name, shlex.join([*command.split(), "--seed", str(seed_of(records))])))
    return Report(
        title="RNN Rosetta report",
        verdict=verdict(records, partial),
        origin=_origin(records),
        missing=tuple(missing),
        sections=tuple(sections),
    )


def _printable(value: Any) -> Any:
    """The same with every character in its strings escaped that a page or a shell could not take as it is."""
    if isinstance(value, str):
        return printable(value, keep="\n\t")
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value


def _origin(records: Sequence[Record]) -> tuple[str, str]:
    """The command that made the records, and the versions it ran with."""
    header = next(iter(of_kind(records, Header)), None)
    if header is None:
        return "", "The records do not say which command made them."
    return shlex.join(header["command"]), f"rnn-rosetta {header['version']}, Python {header['python']}"
