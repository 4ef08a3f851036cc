"""The command line takes nothing for something else: no prefix, no empty value, no nonsense number, no second value."""

import pytest

from common import errors, parallel
from common.cli import main, parse
from common.cli.options import Parser

REFUSED = [
    ("chek", "command: expected one of inspect, check, convert, ", "got 'chek'; did you mean check?"),
    ("xyz", "command: expected one of inspect, check, convert, ", "ls, doctor, got 'xyz'"),
    ("--json check", "unrecognized arguments: --json; ", "--json follows the command"),
    ("check --input 5", "unrecognized arguments: --input 5; ", "did you mean --inputs?"),
    ("check --input=5", "unrecognized arguments: --input=5; ", "did you mean --inputs?"),
    ("check --hiden-size 5", "unrecognized arguments: --hiden-size 5; ", "did you mean --hidden-size?"),
    ("train --bidirect", "unrecognized arguments: --bidirect; ", "did you mean --bidirectional?"),
    ("train sine y", "unrecognized arguments: y", ""),
    ("check --seed 1 --seed 2", "--seed: expected once, got it again, ", "with 2"),
    ("train --lr 0.1 --lr 0.1", "--lr: expected once, got it again, ", "with 0.1"),
    ("check --backend nmpy", "backend: expected one of numpy, jax, ", "got 'nmpy'; did you mean numpy?"),
    ("check --cell lstmcel", "--cell: expected one of RNN, ", "got 'lstmcel'; did you mean LSTMCell?"),
    ("describe lstmm", "CELL|FILE: expected one of RNN, ", "got 'lstmm'; did you mean LSTM?"),
    ("train adition", "task: expected one of sine, ", "got 'adition'; did you mean adding?"),
    ("train --reading articl", "reading of sine: expected one of windows, article, ", "did you mean article?"),
    ("check --jobs x", "--jobs: expected an integer, ", "got 'x'"),
    ("train --epochs 1.5", "--epochs: expected an integer, ", "got '1.5'"),
    ("train --lr x", "--lr: expected a number, ", "got 'x'"),
    ("generate file --temperature -1", "--temperature: expected at least 0, ", "got -1"),
    ("train --clip-norm inf", "--clip-norm: expected a finite number, ", "got inf"),
]
JOBS = [f"{verb} --jobs" for verb in ("check", "study", "lessons")]
COUNTS = [*JOBS, "check --configs", "check --steps", "check --batch", "bench --rounds", "study --rounds"]
COUNTS += ["generate file --length", "describe LSTM --seq-len", "describe LSTM --batch", "trace --steps"]
COUNTS += ["stepper --steps"]
SIZES = ["hidden-size", "epochs", "batch-size", "patience", "num-layers", "embedding-size", "schedule-steps"]
COUNTS += [f"train --{name}" for name in SIZES]
COUNTS += [f"{verb} --{name}" for verb in ("check", "describe LSTM", "trace") for name in ("input-size", "hidden-size")]
REFUSED += [
    (f"{words} {got}", f"{words.split()[-1]}: expected at least 1, ", f"got {got}")
    for words in COUNTS
    for got in (0, -1)
]
SEEDS = ["check", "study", "train", "bench", "trace", "stepper", "generate file"]
REFUSED += [(f"{words} --seed -1", "--seed: expected at least 0, ", "got -1") for words in SEEDS]
NUMBERS = ["check --dropout", "train --lr", "train --momentum", "train --schedule-factor", "train --forget-bias"]
NUMBERS += ["generate file --temperature", "train --alpha", "train --eps", "train --input-bias"]
REFUSED += [(f"{words} nan", f"{words.split()[-1]}: expected a finite number, ", "got nan") for words in NUMBERS]


@pytest.mark.parametrize(("words", "start", "rest"), REFUSED, ids=[words for words, *_ in REFUSED])
def test_nonsense_is_refused(words: str, start: str, rest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(words.split(), start, rest, capsys)


EMPTY = ["check --backend", "train --out", "train --config", "train --text", "train --set", "train --reading"]
EMPTY += ["generate file --prompt", "trace --weights", "report --out", "generate", "train", "report"]


@pytest.mark.parametrize("words", EMPTY)
def test_an_empty_value_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused([*words.split(), ""], "", ": expected at least one character, got ''", capsys)


@pytest.mark.parametrize("words", ["check --lengths", "lessons --lesson", "stepper --units", "stepper --features"])
def test_an_empty_list_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    start = f"{words.split()[-1]}: expected integers with commas between them, "
    assert_refused([*words.split(), ""], start, "got ''", capsys)


def assert_refused(words: list[str], start: str, rest: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, perhaps with one about the help."""
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    rows = captured.err.splitlines()
    assert code == 2
    assert not captured.out
    assert rows[0].startswith(f"rosetta: {start}")
    assert rows[0].endswith(rest)
    assert [row.startswith("Try: rosetta") for row in rows[1:]] in ([], [True])


def test_what_can_be_repeated_is() -> None:
    options = parse(["bench", "--backend", "numpy", "--backend", "torch", "--cell", "rnn", "--cell", "lstm"])
    assert (options.backend, options.cell) == (["numpy", "torch"], ["RNN", "LSTM"])
    assert parse(["lessons", "--lesson", "1,2", "--lesson", "4"]).lesson == [(1, 2), (4,)]
    assert parse(["check", "--json", "--json", "--seed", "3"]).seed == 3


def test_jobs_are_one_a_processor_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cpu_count", lambda: 7)
    for verb in ("check", "study", "lessons"):
        assert parse([verb]).jobs == 7
        assert parse([verb, "--jobs", "3"]).jobs == 3


def test_no_parser_takes_a_prefix() -> None:
    """Nor does one that another option is a prefix of."""
    top = Parser(prog="top")
    top.add_argument("--inputs")
    top.add_argument("--input-size")
    assert top.parse_known_args(["--input", "x"])[1] == ["--input", "x"]
    assert top.parse_args(["--inputs", "x"]).input_size is None


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("tor", "did you mean torch?"),
        ("torchnn", "did you mean torch.nn?"),
        ("TORCH.N", "did you mean torch.nn?"),
        ("tensorflow", ""),
        ("", ""),
        (3, ""),
    ],
)
def test_the_closest_name(got: object, expected: str) -> None:
    assert errors.closest(got, ["numpy", "torch", "torch.nn"]) == expected
