"""The command ``rosetta``: parses, calls, prints. Data on stdout; progress and messages on stderr.

The exit codes are those of ``ending.EXIT_CODES``.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from common import parallel
from common.backend import registry
from common.cli import ending
from common.cli.options import Parser, at_least, filled, integer, integers, named, number, optional
from common.equivalence.variants import PROBLEMS, REGIMES, B, T
from common.errors import unknown
from common.model.run import OPTIMIZERS, SCHEDULES
from common.model.spec import CELLS, DTYPES, HALF_DTYPES, NONLINEARITIES
from common.records import package_version
from common.study.bench import SIZES
from common.study.study import ROUNDS

LISTS = ("backends", "cells", "tasks", "checks")


def parser() -> Parser:
    top = Parser(
        prog="rosetta",
        description="One recurrent network in NumPy, JAX and PyTorch, and proof that they agree.",
        epilog="exit codes:\n" + "\n".join(f"  {code:<3}  {text}" for code, text in ending.EXIT_CODES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"rosetta {package_version()}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND", parser_class=Parser)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        found.add_argument("--json", action="store_true", help="print JSON lines on stdout")
        return found

    def backends(found: argparse.ArgumentParser, default: Sequence[str], *, several: bool = True) -> None:
        text = f"one of {', '.join(registry.BUILTIN)}, or package.module:attribute"
        text += f"{'; repeat it for several' * several} (default: {', '.join(default)})"
        found.add_argument("--backend", action="append", metavar="NAME", help=text)
        found.set_defaults(default_backends=tuple(default))

    def select(
        found: argparse.ArgumentParser, cells: Sequence[str], dtypes: Sequence[str], half: Sequence[str] = HALF_DTYPES
    ) -> None:
        for name, options, default in (("cell", CELLS, cells), ("dtype", (*DTYPES, *half), dtypes)):
            text = f"one of {', '.join(options)}; repeat it for several (default: {', '.join(default)})"
            found.add_argument(f"--{name}", action="append", type=named(options), metavar=name.upper(), help=text)
        found.set_defaults(default_cells=tuple(cells), default_dtypes=tuple(dtypes))
        found.add_argument("--seed", type=at_least(0), default=0, help="seed of all random numbers (default: 0)")

    def jobs(found: argparse.ArgumentParser) -> None:
        count = parallel.cpu_count()
        found.add_argument("--jobs", type=at_least(1), default=count, help="processes (default: one a processor)")

    def model(found: argparse.ArgumentParser, *, sizes: bool) -> None:
        """The constructor arguments of torch.nn; what is not given is not in the options."""
        group = found.add_argument_group("model", argument_default=argparse.SUPPRESS)
        if sizes:
            group.add_argument("--input-size", type=integer, help="features of x")
            group.add_argument("--hidden-size", type=integer, help="features of h")
        group.add_argument("--num-layers", type=integer, help="default: 1")
        group.add_argument("--nonlinearity", type=named(NONLINEARITIES), help="of RNN and RNNCell (default: tanh)")
        group.add_argument("--no-bias", dest="bias", action="store_false", help="leave out both biases")
        group.add_argument("--dropout", type=number, help="between layers, in training (default: 0)")
        group.add_argument("--bidirectional", action="store_true", help="both directions")
        group.add_argument("--proj-size", type=integer, help="projection of the LSTM's h (default: 0, none)")

    def training(found: argparse.ArgumentParser) -> None:
        """What decides a run; what is not given is the task's own."""
        rows: tuple[tuple[str, Any, str], ...] = (
            ("reading", filled, "of the data, see `rosetta ls tasks` (default: the first)"),
            ("text", filled, "a UTF-8 file for the task text (default: Python's help topics)"),
            ("inputs", named(("one_hot", "embedding")), "how symbols enter: one_hot or embedding"),
            ("embedding-size", integer, "of the rows of the table, with --inputs embedding (default: 32)"),
            ("hidden-size", integer, "features of h"),
            ("optimizer", named(tuple(OPTIMIZERS)), f"one of {', '.join(OPTIMIZERS)}"),
            ("lr", number, "learning rate"),
            ("momentum", number, "of sgd and rmsprop"),
            ("clip-norm", optional(number), "largest norm of all gradients together, or none"),
            ("schedule", named(tuple(SCHEDULES)), f"of the learning rate: one of {', '.join(SCHEDULES)}"),
            ("schedule-steps", integer, "updates until it is at its end, or between two steps"),
            ("schedule-factor", number, "of the rate at the end, or of each step (default: 0.1)"),
            ("epochs", integer, "times through the data"),
            ("batch-size", optional(integer), "sequences in a mini-batch, or none: all"),
            (
                "patience",
                optional(integer),
                "stop after so many epochs without a better validation loss; the best is kept",
            ),
            ("forget-bias", optional(number), "initial bias of the LSTM's forget gate, or none: as torch"),
        )
        group = found.add_argument_group("training", "what is not given is the task's own")
        for name, kind, text in rows:
            group.add_argument(f"--{name}", type=kind, help=text)
        group.add_argument("--set", action="append", metavar="NAME=VALUE", help="an option of the task; repeat it")
        group.add_argument("--config", metavar="FILE.toml", help="settings; the command line goes before them")
        group.add_argument("--out", default="trained", help="folder for what was learnt (default: trained)")

    study = verb("study", "run the checks, the sine wave and the timings, and write the report")
    backends(study, registry.DEFAULT)
    select(study, CELLS, DTYPES)
    jobs(study)
    text = "train every task in every backend over several seeds too (about 30 minutes)"
    study.add_argument("--full", action="store_true", help=text)
    study.add_argument("--rounds", type=at_least(1), default=ROUNDS, help=f"of the timings (default: {ROUNDS})")
    study.add_argument("--out", default="reports/latest", help="output folder (default: reports/latest)")

    check = verb("check", "compare outputs, gradients and training of all backends")
    backends(check, registry.DEFAULT)
    select(check, CELLS, DTYPES)
    jobs(check)
    text = (
        f"compare on N configurations in each dtype, {PROBLEMS} problems a model drawn from the product of all options"
    )
    check.add_argument("--configs", type=at_least(1), metavar="N", help=text)
    model(check, sizes=True)
    one = check.add_argument_group(
        "one model", "any of these, or of the model, compares on that model alone", argument_default=argparse.SUPPRESS
    )
    one.add_argument("--steps", type=at_least(1), metavar="T", help=f"default: {T}")
    one.add_argument("--batch", type=at_least(1), metavar="B", help=f"default: {B}")
    one.add_argument("--lengths", type=integers, metavar="N,N,...", help="of the sequences of a ragged batch")
    one.add_argument("--no-state", dest="given_state", action="store_false", help="leave the initial state out")
    one.add_argument("--eval", dest="training", action="store_false", help="no dropout masks")
    one.add_argument("--regime", type=named(list(REGIMES)), help=f"one of {', '.join(REGIMES)} (default: plain)")

    train = verb("train", "train a network on a task, compare the backends, and save it")
    train.add_argument("task", nargs="?", help="a task of `rosetta ls tasks` (default: sine)")
    backends(train, ("numpy",))
    select(train, ("RNN",), ("float64",), half=())
    train.set_defaults(seed=None)
    training(train)
    model(train, sizes=False)

    for name, text in (("generate", "continue a text with a trained network"), ("predict", "use a trained network")):
        use = verb(name, text)
        use.add_argument("file", help="what `rosetta train` saved")
        backends(use, ("numpy",), several=False)
        if name == "predict":
            text = "what to predict from, as the task reads it, after -- if it begins with -; none: its test data"
            use.add_argument("input", nargs="*", type=str, help=text)
            continue
        use.add_argument("--prompt", help="the beginning (default: a line's)")
        use.add_argument("--length", type=at_least(1), default=400, help="characters (default: 400)")
        use.add_argument("--temperature", type=at_least(0, number), help="0 is greedy (default: 0.7)")
        use.add_argument("--greedy", action="store_true", help="the likeliest character each time")
        use.add_argument("--seed", type=at_least(0), default=0, help="of the drawn characters (default: 0)")

    describe = verb("describe", "list a model's parameters, equations and shapes")
    describe.add_argument("cell", type=named(CELLS), metavar="CELL", help=f"one of {', '.join(CELLS)}")
    model(describe, sizes=True)
    describe.add_argument("--batch-first", action="store_true", help="x is (B, T, I) instead of (T, B, I)")
    describe.add_argument("--seq-len", type=at_least(1), metavar="T", help="steps (default: the letter T)")
    describe.add_argument("--batch", type=at_least(1), metavar="B", help="sequences (default: the letter B)")
    describe.add_argument("--unbatched", action="store_true", help="one sequence without a batch axis")

    bench = verb("bench", "time our implementations against torch.nn and Flax")
    backends(bench, registry.DEFAULT)
    select(bench, ("RNN", "LSTM"), ("float32",))
    text = f"one of {', '.join(SIZES)}; repeat it for several (default: all)"
    bench.add_argument("--size", action="append", type=named(list(SIZES)), metavar="SIZE", help=text)
    bench.add_argument("--rounds", type=at_least(1), default=11, help="default: 11")

    lessons = verb("lessons", "run the lessons and write their pages, with the steppers")
    lessons.add_argument("--out", default="reports/latest/lessons", help="folder (default: reports/latest/lessons)")
    lessons.add_argument("--lesson", type=integers, action="append", metavar="N,N,...", help="these alone")
    lessons.add_argument("--notebooks", action="store_true", help="write Jupyter notebooks too")
    jobs(lessons)

    def walked(found: argparse.ArgumentParser, cells: Sequence[str]) -> None:
        """One example through one cell."""
        text = f"one of {', '.join(cells)} (default: that of the weights, or {cells[0]}); one layer in one direction"
        found.add_argument("--cell", type=named(cells), metavar="CELL", help=text)
        found.add_argument("--weights", metavar="FILE", help="of `rosetta train`, an .npz, or torch's state_dict")
        found.add_argument("--steps", type=at_least(1), default=5, metavar="T", help="default: 5")
        found.add_argument("--seed", type=at_least(0), default=0, help="of the example (default: 0)")
        group = found.add_argument_group("model", argument_default=argparse.SUPPRESS)
        group.add_argument("--input-size", type=integer, help="features of x (default: 2)")
        group.add_argument("--hidden-size", type=integer, help="features of h (default: 3)")
        group.add_argument("--nonlinearity", type=named(NONLINEARITIES), help="of RNN and RNNCell (default: tanh)")
        group.add_argument("--no-bias", dest="bias", action="store_false", help="leave out both biases")

    trace = verb("trace", "print every intermediate of one example, forward and backward")
    walked(trace, CELLS)
    text = "numpy, jax or torch; repeat it for several (default: all)"
    trace.add_argument("--backend", action="append", metavar="NAME", help=text)
    text = "leave finite differences out, which take long for many units"
    trace.add_argument("--no-finite-differences", dest="finite_differences", action="store_false", help=text)
    text = "what the loss compares with a target: every state, or the last (default: every)"
    trace.add_argument("--loss", type=named(("every", "last")), default="every", help=text)

    stepper = verb("stepper", "write a page that walks through one example, forward and backward")
    walked(stepper, CELLS)
    stepper.add_argument(
        "--units", type=integers, metavar="N,N,...", help="hidden units to show (default: the first 4)"
    )
    stepper.add_argument("--inputs", type=integers, metavar="N,N,...", help="inputs to show (default: the first 3)")
    stepper.add_argument("--out", default="reports/latest/stepper.html", help="default: reports/latest/stepper.html")
    stepper.set_defaults(loss="every")

    report = verb("report", "render a records file as HTML and Markdown")
    report.add_argument("records", nargs="?", default="reports/latest/records.jsonl", help="a file of JSON lines")
    report.add_argument("--out", help="output folder (default: the folder of the records)")
    report.add_argument("--partial", action="store_true", help="accept a file that was cut, and say so in the report")

    listing = verb("ls", "list the backends, cells, tasks and checks")
    listing.add_argument("what", nargs="?", type=named(LISTS), help=f"one of {', '.join(LISTS)} (default: all)")
    doctor = verb("doctor", "print versions, kernels, threads, precision switches and devices")
    backends(doctor, registry.DEFAULT)
    verbs.type = str  # what stands behind a command is its parser's
    top.verbs = verbs.choices
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; inputs of ``predict`` may stand behind its options too, where argparse no longer takes them."""
    top = parser()
    first = next(iter(arguments), "-")
    if not first.startswith("-") and first not in top.verbs:
        top.error(unknown("command", list(top.verbs), first))
    options, left = top.parse_known_args(arguments)
    if options.verb == "predict" and not any(word.startswith("-") for word in left):
        options.input, left = [*options.input, *left], []
    if left:
        top.verbs[options.verb].refuse(left)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = shlex.join(["rosetta", *words])

    def call() -> int:
        options = parse(words)
        options.command = ["rosetta", *words]
        from common.cli import commands  # after parsing: --help works where only NumPy is installed

        return getattr(commands, options.verb)(options)

    return ending.run(call, command)
