"""Records survive a round trip; whatever is lost from a file is noticed, and what is intact is handed over."""

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from common import records
from common.errors import InvalidInput, RecordsCut
from common.records import read, writing

GIVEN: list[Any] = [
    {
        "kind": "sample",
        "task": "text",
        "cell": "RNN",
        "backend": "numpy",
        "seed": 3,
        "prompt": "",
        "temperature": 1.5e-17,
    }
    | {"text": '\u00e4 \u2028 "quoted" \\ {\n}'},
    {"kind": "gradient-norms", "task": "adding", "cell": "RNN", "backend": "jax", "seed": 0, "stage": "after"}
    | {"sequences": 20, "norms": {"h": [0.5, 0.25, 1 / 3, None], "c": []}},
    {"kind": "environment", "of": "numpy", "facts": {"blas": {"threads": 1, "names": []}}},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A complete file: a header, the given records, a closing record."""
    path = tmp_path / "records.jsonl"
    with path.open("w", encoding="utf-8") as stream, writing(stream, ["rosetta", "study"], 3) as writer:
        for record in GIVEN:
            writer.write(record)
    return path


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def replace_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def test_what_is_written_is_read(path: Path) -> None:
    header, *found, end = cast(list[Any], read(path))
    assert found == GIVEN
    assert end == {"kind": "end", "records": len(GIVEN)}
    assert (header["kind"], header["schema"], header["seed"]) == ("header", records.SCHEMA, 3)
    assert header["command"] == ["rosetta", "study"]
    assert header["version"] == records.package_version()
    assert len(lines_of(path)) == len(GIVEN) + 2, "one line a record"


def test_a_cut_at_any_byte_is_noticed_and_keeps_what_is_complete(path: Path) -> None:
    """Within a line, after one, and between a line and its line break, without which it is complete too."""
    whole, everything = path.read_bytes(), read(path)
    ends = [position for position, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        complete = sum(end <= size for end in ends)
        if complete == len(ends):
            assert read(path) == everything
            continue
        with pytest.raises(InvalidInput) as caught:
            read(path)
        assert isinstance(caught.value, RecordsCut) == (complete > 0), size
        if isinstance(caught.value, RecordsCut):
            assert caught.value.intact == everything[:complete], size
            assert f"--partial for the {complete} intact" in str(caught.value)
            assert str(path) in str(caught.value)


@pytest.mark.parametrize("lost", range(1, len(GIVEN) + 1))
def test_a_line_lost_from_the_middle_is_noticed(path: Path, lost: int) -> None:
    lines = lines_of(path)
    replace_lines(path, lines[:lost] + lines[lost + 1 :])
    with pytest.raises(InvalidInput, match=r"expected 3 records, got 2; lines lost\?$") as caught:
        read(path)
    assert not isinstance(caught.value, RecordsCut), "nobody can know which records are left"


def test_a_line_too_many_is_noticed(path: Path) -> None:
    lines = lines_of(path)
    replace_lines(path, [*lines[:2], *lines[1:]])
    with pytest.raises(InvalidInput, match="expected 3 records, got 4"):
        read(path)


KIND = "expected one of header, environment, check, training, one-bias, bench, task, "
KIND += "outcome, sample, gradient-norms, trace, end, got"
# The bytes of a file, and what the message says after the name of the file.
NO_RECORDS = {
    b"": " line 1: expected a header of schema 2, got ''",
    b"\n": " line 1: expected a JSON object, got ''",
    b'{"kind": "header", "schema": 1}\n{"kind": "end", "records": 0}\n': " line 1: expected a header of schema 2, got ",
    b'{"kind": "header"}\n{"kind": "end", "records": 0}\n': " line 1: expected a header of schema 2, got ",
    b'{"kind": "check"}\n{"kind": "end", "records": 0}\n': " line 1: expected a header of schema 2, got ",
    b'{"kind": "secret"}\n': f" line 1: {KIND} 'secret'",
    b'{"schema": 2}\n': f" line 1: {KIND} None",
    b"[1, 2]\n": f" line 1: {KIND} 'list'",
    b"3\n": f" line 1: {KIND} 'int'",
    b"\x89PNG\r\n\x1a\n\x00": "invalid start byte",
    b"PK\x03\x04\x00\x00": " line 1: expected a JSON object, got ",
    b"kind,error\ncheck,0\n": " line 1: expected a JSON object, got 'kind,error'",
}


@pytest.mark.parametrize("content", NO_RECORDS)
def test_a_file_that_is_not_a_records_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read(path)
    assert not isinstance(caught.value, RecordsCut)
    assert str(path) in str(caught.value)
    assert NO_RECORDS[content] in str(caught.value)


@pytest.mark.parametrize(
    ("garbage", "expected"),
    [
        ("{", "line 3: expected a JSON object, got '{'"),
        ("", "line 3: expected a JSON object, got ''"),
        ("\x00" * 99, "line 3: expected a JSON object, got "),
        ('{"kind": "chekc"}', f"kind of PATH line 3: {KIND} 'chekc'"),
        ('"check"', f"kind of PATH line 3: {KIND} 'str'"),
    ],
)
@pytest.mark.parametrize("instead", [False, True])
def test_garbage_in_the_middle_is_refused_with_its_line(path: Path, garbage: str, expected: str, instead: bool) -> None:
    lines = lines_of(path)
    replace_lines(path, [*lines[:2], garbage, *lines[2 + instead :]])
    with pytest.raises(InvalidInput) as caught:
        read(path)
    assert not isinstance(caught.value, RecordsCut)
    assert expected.replace("PATH", str(path)) in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 200, "garbage is shown in part only"


@pytest.mark.parametrize("name", ["", "nosuch.jsonl"])
def test_a_folder_or_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^records file: expected a readable text file, got ") as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    number = {"a": math.nan, "b": [math.inf, 1.0, (-math.inf, {"c": np.float64("nan")})], "d": np.float64(2)}
    record: Any = {"kind": "environment", "of": "numpy", "facts": number}
    with path.open("w") as stream, writing(stream, ["rosetta", "check"]) as writer:
        writer.write(record)
    assert read(path)[1] == record | {"facts": {"a": None, "b": [None, 1.0, [None, {"c": None}]], "d": 2.0}}
    assert not any(word in path.read_text() for word in ("NaN", "Infinity"))


def test_a_run_that_fails_leaves_no_closing_record(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"

    def run() -> None:
        with path.open("w") as stream, writing(stream, ["rosetta", "study"]) as writer:
            writer.write(GIVEN[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    with pytest.raises(RecordsCut, match="a closing record, got none after 2 lines") as caught:
        read(path)
    assert caught.value.intact[1:] == GIVEN[:1]


def test_every_line_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with path.open("w", buffering=1 << 20) as stream, writing(stream, ["rosetta", "study"]) as writer:
        assert len(lines_of(path)) == 1, "the header"
        for count, record in enumerate(GIVEN, start=2):
            writer.write(record)
            assert json.loads(lines_of(path)[-1]) == record
            assert len(lines_of(path)) == count
            assert path.read_text().endswith("\n")


@pytest.mark.parametrize("record", [{}, {"kind": "chekc"}, {"kind": None}])
def test_a_record_of_no_known_kind_is_not_written(record: Any, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with path.open("w") as stream, writing(stream, ["rosetta", "study"]) as writer:
        with pytest.raises(InvalidInput) as caught:
            writer.write(record)
        assert str(caught.value) == f"kind: {KIND} {record.get('kind')!r}"
    assert [found["kind"] for found in read(path)] == ["header", "end"]


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, "1.5"), ({}, "none"), ({"a": 1, "b": {"c": "x"}}, "a 1, b c x"), (None, "None")]
)
def test_plain_is_for_tables(value: object, text: str) -> None:
    assert records.plain(value) == text


@pytest.mark.parametrize("place", [1, 2])
def test_a_second_header_and_a_closing_record_in_the_middle_are_refused(path: Path, place: int) -> None:
    lines = lines_of(path)
    for line, message in ((lines[0], "the header first, once"), (lines[-1], "nothing after the closing record")):
        replace_lines(path, [*lines[:place], line, *lines[place:]])
        with pytest.raises(InvalidInput, match=message):
            read(path)
