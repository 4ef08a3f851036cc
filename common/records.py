"""Results as JSON lines: a header, one line for each result, and a closing line that counts them.

Every line is an object of one of the kinds in ``record_types``, written whole and flushed, so that an interrupted run
keeps what it had. A file without its closing line was cut off, or its run did not end.
"""

import json
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, TextIO, cast, get_args, get_origin, get_type_hints, is_typeddict

from common.errors import InvalidInput, RecordsCut, choice, mismatch
from common.record_types import KINDS as TYPES
from common.record_types import End, Header, R, Record

SCHEMA = 2
KINDS = tuple(TYPES)
# A type, by its name in JSON.
WORDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", NoneType: "null"}
WORDS |= {list: "a list", dict: "an object"}


def package_version() -> str:
    """The version of this distribution, or "not installed" for a checkout that is not installed."""
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


def dumps(record: Any) -> str:
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


def of_kind(records: Iterable[Record], kind: type[R]) -> list[R]:
    """The records of one type."""
    return [cast(R, record) for record in records if TYPES[record["kind"]] is kind]


@contextmanager
def writing(stream: TextIO, command: Sequence[str], seed: int | None = None) -> Iterator[Writer]:
    """A writer between the header and, if nothing was raised, the closing record.

    ``command`` is the command that makes the records, word by word; ``seed`` is that of its random numbers, if any.
    """
    writer = Writer(stream)
    header = Header(
        kind="header",
        schema=SCHEMA,
        command=list(command),
        seed=seed,
        version=package_version(),
        python=platform.python_version(),
    )
    writer.write(header)
    yield writer
    writer.write(End(kind="end", records=writer.count - 1))


def read(path: Path) -> list[Record]:
    """The records of a complete file, including its header and closing record, each with the fields of its kind.

    Raises ``InvalidInput`` if it is not a records file, and ``RecordsCut`` if it ends too early.
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
        require_fields(where, record)
        if record["kind"] in ("header", "end") and bool(records) != (record["kind"] == "end"):
            raise InvalidInput(mismatch(where, "the header first, once", f"a {record['kind']} record"))
        if records and records[-1]["kind"] == "end":
            raise InvalidInput(mismatch(where, "nothing after the closing record", f"a {record['kind']} record"))
        records.append(cast(Record, record))
    if not records:
        raise _no_header(path, lines)
    last = records[-1]
    if last["kind"] != "end":
        raise _cut(path, records, mismatch(str(path), "a closing record", f"none after {len(records)} lines"))
    if last["records"] != len(records) - 2:
        raise InvalidInput(mismatch(str(path), f"{last['records']} records", len(records) - 2, "lines lost?"))
    return records


def _no_header(path: Path, lines: list[str]) -> InvalidInput:
    got = repr(lines[0][:40] if lines else "")
    return InvalidInput(mismatch(f"{path} line 1", f"a header of schema {SCHEMA}", got))


def _cut(path: Path, intact: list[Record], message: str) -> RecordsCut:
    return RecordsCut(
        f"{message}; the file was cut or its run did not end. Use --partial for the {len(intact)} intact lines", intact
    )


class Fault(NamedTuple):
    """A value that does not have the type of its field: the names that lead to it, innermost first."""

    names: tuple[str, ...]
    expected: str
    got: str


def require_fields(where: str, record: dict[str, Any]) -> None:
    """Raise unless a record has every field of its kind, in its type; further fields are ignored."""
    require_type(where, record, TYPES[record["kind"]])


def require_type(where: str, value: Any, kind: type) -> None:
    """Raise unless a value read from JSON has the type that a ``TypedDict`` says, with all its fields."""
    if fault := _checker(kind)(value):
        raise InvalidInput(mismatch(f"{' of '.join(fault.names)} in {where}", fault.expected, fault.got))


@cache
def _checker(kind: Any) -> Callable[[Any], Fault | None]:
    """The function that finds the first fault in a value that should have this type."""
    if kind is Any:
        return lambda value: None
    if is_typeddict(kind):
        return _of_object(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _of_type(lambda value: value in arguments, f"one of {', '.join(map(repr, arguments))}")
    if origin is list:
        return _of_items(list, enumerate, arguments[0], lambda place: f"item {place}")
    if origin is dict:
        return _of_items(dict, dict.items, arguments[1], str)
    if arguments:
        return _of_union(arguments)
    types = (int, float) if kind is float else (kind,)
    return _of_type(lambda value: isinstance(value, types) and isinstance(value, bool) == (kind is bool), WORDS[kind])


def _of_type(is_right: Callable[[Any], bool], expected: str) -> Callable[[Any], Fault | None]:
    return lambda value: None if is_right(value) else Fault(names=(), expected=expected, got=_shown(value))


def _of_union(kinds: Sequence[Any]) -> Callable[[Any], Fault | None]:
    """For a union of types: the fault is that of the first, which is the one with content."""
    checkers = [_checker(kind) for kind in kinds]
    words = " or ".join(dict.fromkeys(WORDS.get(get_origin(kind) or kind, WORDS[dict]) for kind in kinds))

    def check(value: Any) -> Fault | None:
        faults = [checker(value) for checker in checkers]
        if not all(faults):
            return None
        return next((fault for fault in faults if fault and fault.names), Fault((), words, _shown(value)))

    return check


def _of_items(
    container: type, items: Callable[[Any], Iterable[tuple[Any, Any]]], kind: Any, name: Callable[[Any], str]
) -> Callable[[Any], Fault | None]:
    checker = _checker(kind)

    def check(value: Any) -> Fault | None:
        if not isinstance(value, container):
            return Fault(names=(), expected=WORDS[container], got=_shown(value))
        for place, item in items(value):
            if fault := checker(item):
                return fault._replace(names=(*fault.names, name(place)))
        return None

    return check


def _of_object(kind: Any) -> Callable[[Any], Fault | None]:
    fields = {name: _checker(field) for name, field in get_type_hints(kind).items()}

    def check(value: Any) -> Fault | None:
        if not isinstance(value, dict):
            return Fault(names=(), expected=WORDS[dict], got=_shown(value))
        for name, checker in fields.items():
            if name in value:
                fault = checker(value[name])
            else:
                fault = Fault(names=(), expected="a value", got="nothing") if name in kind.__required_keys__ else None
            if fault:
                return fault._replace(names=(*fault.names, name))
        return None

    return check


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."
