"""From environment records to tables of what everything ran on."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.record_types import Environment, Record
from common.records import of_kind, plain
from reports.page.model import Section, Table


def environment_section(records: Sequence[Record]) -> Section | None:
    """What everything ran on, fact by fact."""
    environments = {record["of"]: _flat(record["facts"]) for record in of_kind(records, Environment)}
    if not environments:
        return None
    tables = []
    if machine := environments.pop("machine", None):
        tables.append(Table("The machine", ("Fact", "Value"), tuple(machine.items())))
    if environments:
        facts = dict.fromkeys(key for values in environments.values() for key in values)
        rows = tuple((key, *(values.get(key, "–") for values in environments.values())) for key in facts)
        tables.append(Table("The implementations", ("Fact", *environments), rows))
    return Section(
        anchor="environment",
        title="Environment",
        paragraphs=(),
        plots=(),
        tables=tuple(tables),
        commands=("rosetta doctor",),
    )


def _flat(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as text; those of the BLAS library one by one."""
    flat = {}
    for key, value in facts.items():
        if key == "blas" and isinstance(value, dict):
            flat |= {f"blas {name}": plain(item) for name, item in value.items()}
        else:
            flat[key] = plain(value)
    return flat
