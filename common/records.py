"""Results as JSON lines: a header, one line a result, and a closing line that counts them.

Every line is an object with a ``kind``, written whole and flushed, so that an interrupted run keeps what it had. A file
without its closing line was cut, or its run did not end.
"""

import json
import math
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from common.errors import InvalidInput, RecordsCut, choice, mismatch
from common.record_types import KINDS as TYPES
from common.record_types import R

SCHEMA = 2
KINDS = ("header", "environment", "check", "training", "one-bias", "bench", "task", "outcome", "sample")
KINDS += ("gradient-norms", "trace", "end")
Record = dict[str, Any]
NUMBER = int | float | None
# What every check record has, and of which type; what is not finite is None.
CHECK_FIELDS: dict[str, Any] = dict.fromkeys(
    ("check", "cell", "variant", "dtype", "quantity", "a", "b", "verdict", "reason", "arguments"), str
)
CHECK_FIELDS |= dict.fromkeys(("error", "scale", "tolerance", "ratio", "resolution"), NUMBER)
CHECK_FIELDS |= {"count": int, "drawn": bool, "resolutions": dict, "verdicts": dict, "options": list}


def package_version() -> str:
    """The version of this distribution; of a checkout that is not installed, "not installed"."""
    try:
        return version("rnn-rosetta")
    except PackageNotFoundError:
        return "not installed"


class Writer:
    """Writes records to a stream; use ``writing``, which also closes them."""

    def __init__(self, stream: TextIO):
        self.stream, self.count = stream, 0

    def write(self, record: Record) -> None:
        if record.get("kind") not in KINDS:
            raise InvalidInput(choice("kind", KINDS, record.get("kind")))
        self.stream.write(dumps(record) + "\n")
        self.stream.flush()
        self.count += 1


def dumps(record: Record) -> str:
    """One line of JSON."""
    return json.dumps(_finite(record), allow_nan=False)


def plain(value: Any) -> str:
    """A value of a record, for a table."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "none"
    return str(value)


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def of_kind(records: Iterable[Any], kind: type[R]) -> list[R]:
    """The records of one type."""
    return [record for record in records if TYPES[record["kind"]] is kind]


@contextmanager
def writing(stream: TextIO, command: str) -> Iterator[Writer]:
    """A writer between the header and, if nothing was raised, the closing record."""
    writer = Writer(stream)
    header = {"kind": "header", "schema": SCHEMA, "command": command, "version": package_version()}
    writer.write(header | {"python": platform.python_version()})
    yield writer
    writer.write({"kind": "end", "records": writer.count - 1})


def read(path: Path) -> list[Record]:
    """The records of a complete file, its header and its closing record among them.

    Raises ``InvalidInput`` for what is no records file, ``RecordsCut`` for one that ends too early.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(mismatch("records file", "a readable text file", f"{path} ({error})")) from error
    records: list[Record] = []
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        where = f"{path} line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines) and records:
                got = f"{len(line)} characters that break off"
                raise _cut(path, records, mismatch(where, "a JSON object", got)) from error
            raise InvalidInput(mismatch(where, "a JSON object", f"{line[:40]!r}")) from error
        if not isinstance(record, dict) or record.get("kind") not in KINDS:
            kind = record.get("kind") if isinstance(record, dict) else type(record).__name__
            raise InvalidInput(choice(f"kind of {where}", KINDS, kind))
        if not records and record.get("schema") != SCHEMA:
            raise _no_header(path, lines)
        _require_fields(where, record)
        if record["kind"] in ("header", "end") and bool(records) != (record["kind"] == "end"):
            raise InvalidInput(mismatch(where, "the header first, once", f"a {record['kind']} record"))
        if records and records[-1]["kind"] == "end":
            raise InvalidInput(mismatch(where, "nothing after the closing record", f"a {record['kind']} record"))
        records.append(record)
    if not records:
        raise _no_header(path, lines)
    if records[-1]["kind"] != "end":
        raise _cut(path, records, mismatch(str(path), "a closing record", f"none after {len(records)} lines"))
    if records[-1].get("records") != len(records) - 2:
        raise InvalidInput(
            mismatch(str(path), f"{records[-1].get('records')} records", len(records) - 2, "lines lost?")
        )
    return records


def _no_header(path: Path, lines: list[str]) -> InvalidInput:
    got = repr(lines[0][:40] if lines else "")
    return InvalidInput(mismatch(f"{path} line 1", f"a header of schema {SCHEMA}", got))


def _require_fields(where: str, record: Record) -> None:
    """Raise unless a check record has what the verdict is made from."""
    if record["kind"] != "check":
        return
    for name, kind in CHECK_FIELDS.items():
        value = record.get(name, "nothing")
        if name not in record or not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise InvalidInput(mismatch(f"{name} in {where}", getattr(kind, "__name__", "a number"), repr(value)))
    for name, kind in (("resolutions", NUMBER), ("verdicts", str)):
        for key, value in record[name].items():
            if not isinstance(value, kind) or isinstance(value, bool):
                expected = "a string" if kind is str else "a number"
                raise InvalidInput(mismatch(f"{name} of {key} in {where}", expected, repr(value)))
    if not all(isinstance(option, str) for option in record["options"]):
        raise InvalidInput(mismatch(f"options in {where}", "a list of strings", record["options"]))


def _cut(path: Path, intact: list[Record], message: str) -> RecordsCut:
    return RecordsCut(
        f"{message}; the file was cut or its run did not end. Use --partial for the {len(intact)} intact lines", intact
    )
