"""The command ``rosetta``: parses, calls, prints. Data on stdout; progress and messages on stderr.

Exit codes: 0 passed, 1 not equivalent or incomplete, 2 usage or bad input, 3 a backend (or the report's libraries) is
missing or broken, 130 interrupted.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from common import datasets, registry
from common.bench import SIZES
from common.errors import BackendBroken, BackendMissing, Diverged
from common.records import package_version
from common.spec import CELLS, DTYPES, NONLINEARITIES, OPTIMIZERS
from common.study import ROUNDS

NOT_EQUIVALENT, USAGE, NO_BACKEND, INTERRUPTED = 1, 2, 3, 130


class Parser(argparse.ArgumentParser):
    """Reports a wrong name in the form that all errors here take."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"rosetta: {message}\nTry: {self.prog} --help\n")


def _named(options: Sequence[str]) -> Callable[[str], str]:
    """One of ``options``, whatever the case of its letters."""

    def parse(text: str) -> str:
        for option in options:
            if option.lower() == text.lower():
                return option
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(options)}, got {text!r}")

    return parse


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="rosetta",
        description="One recurrent network in NumPy, JAX and PyTorch, and the proof that the three agree.",
        epilog="Exit codes: 0 passed, 1 not equivalent or incomplete, 2 usage or bad input, "
        "3 a backend is missing or broken, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"rosetta {package_version()}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND", parser_class=Parser)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        found.add_argument("--json", action="store_true", help="print JSON lines on stdout")
        return found

    def backends(found: argparse.ArgumentParser, default: Sequence[str]) -> None:
        text = f"one of {', '.join(registry.BUILTIN)}, or package.module:attribute"
        text += f"; repeat it for several (default: {', '.join(default)})"
        found.add_argument("--backend", action="append", metavar="NAME", help=text)
        found.set_defaults(default_backends=tuple(default))

    def select(found: argparse.ArgumentParser, cells: Sequence[str], dtypes: Sequence[str]) -> None:
        for name, options, default in (("cell", CELLS, cells), ("dtype", DTYPES, dtypes)):
            text = f"one of {', '.join(options)}; repeat it for several (default: {', '.join(default)})"
            found.add_argument(f"--{name}", action="append", type=_named(options), metavar=name.upper(), help=text)
        found.set_defaults(default_cells=tuple(cells), default_dtypes=tuple(dtypes))
        found.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")

    def jobs(found: argparse.ArgumentParser) -> None:
        found.add_argument("--jobs", type=int, default=0, help="processes (default: one a processor)")

    study = verb("study", "run the checks, the sine wave and the timings, and write the report")
    backends(study, registry.DEFAULT)
    select(study, CELLS, DTYPES)
    jobs(study)
    study.add_argument("--rounds", type=int, default=ROUNDS, help=f"of the timings (default: {ROUNDS})")
    study.add_argument("--out", default="reports/latest", help="output folder (default: reports/latest)")

    check = verb("check", "compare outputs, gradients and training of all backends")
    backends(check, registry.DEFAULT)
    select(check, CELLS, DTYPES)
    jobs(check)

    train = verb("train", "train a network on a task")
    train.add_argument("task", nargs="?", default="sine", help="a task of `rosetta ls` (default: sine)")
    backends(train, ("numpy",))
    select(train, ("RNN",), ("float64",))
    train.add_argument("--reading", help=f"of sine: {' or '.join(datasets.TASKS['sine'].readings)}")
    train.add_argument("--optimizer", type=_named(OPTIMIZERS), default="sgd", help=f"{' or '.join(OPTIMIZERS)}")
    train.add_argument("--lr", type=float, help="learning rate (default: 0.05 for sgd, 0.01 for adam)")
    train.add_argument("--epochs", type=int, default=100, help="default: 100")
    train.add_argument("--hidden-size", type=int, default=32, help="default: 32")
    train.add_argument("--nonlinearity", type=_named(NONLINEARITIES), default="tanh", help="of RNN and RNNCell")
    train.add_argument("--no-bias", action="store_true", help="leave out both biases")

    bench = verb("bench", "time our implementations against torch.nn and Flax")
    backends(bench, registry.DEFAULT)
    select(bench, ("RNN", "LSTM"), ("float32",))
    text = f"one of {', '.join(SIZES)}; repeat it for several (default: all)"
    bench.add_argument("--size", action="append", type=_named(list(SIZES)), metavar="SIZE", help=text)
    bench.add_argument("--rounds", type=int, default=11, help="default: 11")

    report = verb("report", "render a records file as HTML and Markdown")
    report.add_argument("records", nargs="?", default="reports/latest/records.jsonl", help="a file of JSON lines")
    report.add_argument("--out", help="output folder (default: the folder of the records)")
    report.add_argument("--partial", action="store_true", help="accept a file that was cut, and say so in the report")

    verb("ls", "list the backends, cells, tasks and checks")
    doctor = verb("doctor", "print versions, kernels, threads, precision switches and devices")
    backends(doctor, registry.DEFAULT)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = parser().parse_args(arguments)
        options.command = shlex.join(["rosetta", *arguments])
        from common import commands  # after parsing: --help works where only NumPy is installed

        code = getattr(commands, options.verb)(options)
        sys.stdout.flush()
        return code
    except (BackendMissing, BackendBroken) as error:
        print(f"rosetta: {error}", file=sys.stderr)
        return NO_BACKEND
    except (ValueError, TypeError, Diverged) as error:
        if not type(error).__module__.startswith("common."):
            raise  # a bug of ours, not the user's input: show where
        print(f"rosetta: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("rosetta: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that vanished
        print(f"rosetta: {error}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    sys.exit(main())
