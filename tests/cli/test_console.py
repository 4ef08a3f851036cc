"""What is printed acts on no terminal: control characters of names, files and other people's messages are escaped."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import cli, records
from common.cli import console, tables
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.printable import plain_line, printable
from tests.study_records import HEADER, check

ESCAPE = "\x1b[2J\x9b1m\x7f\x07\r\u202e\u2066"
ESCAPED = r"\x1b[2J\x9b1m\x7f\x07\r\u202e\u2066"
ACTING = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *map(chr, range(0x202A, 0x202F))]
ACTING += [*map(chr, range(0x2066, 0x206A)), "\udc80", "\udfff", "\ud800"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_acts_is_escaped_and_what_is_read_is_not() -> None:
    for character in ACTING:
        assert printable(f"a{character}b", keep="") == f"a{ascii(character)[1:-1]}b"
    text = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x202A), *range(0x202F, 0x2066), 0x206A, 0x1F600]))
    assert printable(text, keep="") == text
    assert printable("a\tb\nc\r\n") == "a\\tb\nc\\r\n"
    assert printable("a\tb\nc\r\n", keep="\n\t") == "a\tb\nc\\r\n"


def test_json_needs_no_more() -> None:
    line = records.dumps({"a": "".join(ACTING)})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"a": "".join(ACTING)}


def test_lines_messages_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich's markup means nothing either: it could colour a name, or make a link of it."""
    console.line(f"line {ESCAPE}\tx")
    console.message(f"message {ESCAPE}\tx")
    console.table(f"[red]title {ESCAPE}", (f"[b]column {ESCAPE}",), [(f"[link=a]cell {ESCAPE}",), (7,)])
    with console.Stages() as stages:
        stages.stage(f"stage {ESCAPE}", 1)(ESCAPE)
        stages.note(ESCAPE)
    said = capsys.readouterr()
    assert said.out.startswith(f"line {ESCAPED}\\tx\n")
    assert said.err.startswith(f"message {ESCAPED}\\tx\nstage {ESCAPED}: 1 of 1 in ")
    for text in ("[red]title", "[b]column", "[link=a]cell"):
        assert f"{text} {ESCAPED}" in said.out
    assert not set(said.out + said.err) & (set(ACTING) - {"\n"})


def test_a_bar_on_a_terminal_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with console.Stages() as stages:
        advance = stages.stage(f"[red]stage\x9b{ESCAPE}", 2)
        stages.note("[blue]note\x9b")
        advance("[green]part\x9b")
    said = capsys.readouterr().err
    assert f"[red]stage\\x9b{ESCAPED}" in said
    assert r"[green]part\x9b" in said
    assert not {"\x9b", "\u202e", "\x07"} & set(said)


NAME = f"evil{ESCAPE}.pt"


def hostile_weights(name: str) -> None:
    """A file whose own name and whose parameters' names would act."""
    params = initial_parameters(ModelSpec(cell="RNN", input_size=2, hidden_size=3), 0)
    arrays: dict[str, Any] = {f"net{ESCAPE}.{key}": value for key, value in params.items()} | {
        f"bias{ESCAPE}": np.zeros(2)
    }
    with Path(name).open("wb") as stream:
        np.savez(stream, **arrays)


CASES = {
    "no such file": ["stepper", "--weights", NAME],
    "names in an .npz": ["trace", "--weights", "own.npz", "--backend", "numpy", "--no-finite-differences"],
    "names of another model": ["trace", "--weights", "own.npz", "--cell", "LSTM"],
    "a network": ["generate", NAME],
    "records": ["report", NAME],
    "settings": ["train", "--config", NAME],
    "a setting": ["train", "--config", "own.toml"],
    "a backend": ["check", "--backend", f"numpy{ESCAPE}"],
    "an entry of a backend": ["check", "--backend", f"json:{ESCAPE}"],
    "a broken backend": ["check", "--backend", "hostile_backend:BACKEND"],
    "doctor": ["doctor", "--backend", "hostile_backend:BACKEND"],
    "a choice": ["check", "--cell", ESCAPE],
    "a verb": [ESCAPE],
    "an option": ["check", f"--{ESCAPE}"],
    "a folder": ["train", "--out", f"own.toml/{ESCAPE}"],
}


@pytest.mark.parametrize("name", CASES)
def test_no_command_prints_what_acts(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile_weights("own.npz")
    Path("own.toml").write_text('"a\\u001b[2J\\u009b1m\\u007f\\u0007\\r\\u202e\\u2066" = 1', encoding="utf-8")
    Path("hostile_backend.py").write_text(f"raise OSError({ESCAPE!r})", encoding="utf-8")
    monkeypatch.syspath_prepend(".")
    try:
        code = cli.main(CASES[name])
    except SystemExit as stop:
        code = stop.code
    said = "".join(capsys.readouterr())
    assert code == {"names in an .npz": 0, "a broken backend": 3, "doctor": 3}.get(name, 2)
    assert not set(said) & (set(ACTING) - {"\n"})
    assert r"\x1b[2J" in said
    assert r"\x9b" in said


def test_a_text_that_is_generated_keeps_its_lines_and_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.txt").write_text(f"a\tb{ESCAPE}c\n" * 400, encoding="utf-8", newline="\n")
    options = ["--epochs", "1", "--hidden-size", "3", "--out", "."]
    assert cli.main(["train", "text", "--text", "own.txt", *options]) == 0
    capsys.readouterr()
    (file,) = Path().glob("text-*.npz")
    assert (
        cli.main(["generate", str(file), "--prompt", f"\tb{ESCAPE[:3]}\n", "--length", "60", "--temperature", "9"]) == 0
    )
    said = capsys.readouterr().out
    assert said.startswith("\tb\\x1b[2\n")
    assert {"\t", "\n"} == set(said) & set(ACTING)
    assert cli.main(["predict", str(file)]) == 0
    assert set(capsys.readouterr().out) & set(ACTING) <= {"\t", "\n"}


def test_records_in_tables_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    row = check(ratio=9.0, variant=ESCAPE, b=ESCAPE, options=["tanh", ESCAPE])
    tables.print_checks([HEADER, row])
    tables.print_coverage([row], 1)
    said = capsys.readouterr().out
    assert not set(said) & (set(ACTING) - {"\n"})
    assert said.count(r"\x1b[2J") > 4


@pytest.mark.parametrize("file", sorted(Path(console.__file__).parent.rglob("*.py")), ids=lambda file: file.stem)
def test_nothing_else_prints_text(file: Path) -> None:
    """What a command prints goes through the console, but for JSON, which escapes by itself."""
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    prints = [ast.unparse(node) for node in calls if ast.unparse(node.func) == "print"]
    dumps = ("print(records.dumps(", "print(json.dumps(")
    assert [text for text in prints if not text.startswith(dumps)] == [] or file.stem == "console"


def test_what_another_program_says_is_one_line_without_colours() -> None:
    text = "Weights only load failed, \x1b[1mdo those steps\x1b[0m\n\tonly if"
    assert plain_line(text) == "Weights only load failed, do those steps only if"
    assert plain_line(text, 30) == "Weights only load failed, do ..."
