"""How a command ends: its exit code, and the line on stderr that says why."""

import os
import platform
import sys
import textwrap
import traceback
from collections.abc import Callable
from contextlib import suppress
from signal import SIGHUP, SIGINT, SIGPIPE, SIGTERM
from tempfile import NamedTemporaryFile

from common import signals
from common.cli import console
from common.errors import BackendBroken, BackendMissing, Diverged, InvalidInput, InvalidType, NotEquivalent, WorkerDied
from common.records import package_version

PASSED, NOT_EQUIVALENT, USAGE, NO_BACKEND, CRASHED = range(5)
EXIT_CODES = {
    PASSED: "passed",
    NOT_EQUIVALENT: "not equivalent, or the records are incomplete",
    USAGE: "wrong usage, or bad input",
    NO_BACKEND: "a backend, or a library of the report, is missing or broken",
    CRASHED: "crashed: a bug, no memory, or a worker process was killed",
    signals.exit_code(SIGHUP): "interrupted by SIGHUP, as its terminal was closed",
    signals.exit_code(SIGINT): "interrupted by Ctrl-C",
    signals.exit_code(SIGPIPE): "the reader of its output left before the end",
    signals.exit_code(SIGTERM): "interrupted by SIGTERM",
}
# The longest summary of an exception.
WIDTH = 120


class Answered(SystemExit):
    """The parser has already answered, with help, the version or an error."""


def run(command: Callable[[], int], words: str) -> int:
    """The exit code of ``command``; ``words`` are what the user typed."""
    try:
        with signals.handled(signals.interrupt):
            code = command()
            _flush()
            return code
    except Answered:
        raise
    except (BackendMissing, BackendBroken) as error:
        return _end(NO_BACKEND, str(error))
    except (InvalidInput, InvalidType, Diverged) as error:
        return _end(USAGE, str(error))
    except NotEquivalent as error:
        return _end(NOT_EQUIVALENT, str(error))
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, signals.Interrupted) else SIGINT
        return _end(signals.exit_code(number), signals.phrase(number))
    except BrokenPipeError:  # as when `head` exits; the output that was not written may be what failed
        _drop_output()
        return signals.exit_code(SIGPIPE)
    except OSError as error:  # a full disk, or a folder that has vanished
        return _end(USAGE, str(error))
    except WorkerDied as error:
        return _end(CRASHED, f"crashed: {error}")
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a backend that calls sys.exit(0) passed nothing
        return _end(CRASHED, _report(error, words))


def _end(code: int, text: str) -> int:
    with suppress(OSError):  # nobody reads stderr any more
        console.message(f"rosetta: {text}")
    try:
        _flush()
    except OSError:
        _drop_output()
    return code


def _flush() -> None:
    """Write what is buffered; there is no stdout where it was closed before the command began."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_output() -> None:
    """Discard what is still buffered: Python would fail to write it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: BaseException, words: str) -> str:
    """Write the traceback to a temporary file, or to stderr if that fails; returns a line that says where it is."""
    text = "".join(traceback.format_exception(error))
    kind = type(error).__name__
    summary = textwrap.shorten(f"{kind}: {error}", WIDTH, placeholder=" ...") if str(error) else kind
    versions = f"rosetta {package_version()}, Python {platform.python_version()}, {platform.platform()}"
    try:
        with NamedTemporaryFile("w", prefix="rosetta-crash-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(f"{words}\n{versions}\n\n{text}".encode(errors="backslashreplace").decode())
    except OSError:
        with suppress(OSError):
            console.message(text.rstrip())
        return f"crashed: {summary}; the traceback is above"
    return f"crashed: {summary}; the traceback is in {file.name}"
