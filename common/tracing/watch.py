"""Which tagged lines of a source file run and what they assign, and copies of modules in which that is perturbed."""

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, mismatch
from common.tracing.equations import Line, lines_of


class Event(NamedTuple):
    """A tagged line that was executed: its number in the file, its code, and the values that it assigned."""

    tag: str
    number: int
    code: str
    values: dict[str, Any]


def kept(value: Any) -> Any:
    """A copy of an array, alone or in tuples; everything else is returned as it is."""
    if isinstance(value, tuple):
        parts = map(kept, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.copy() if isinstance(value, np.ndarray) else value


@contextmanager
def watching(*paths: Path, keep: Callable[[Any], Any] = kept) -> Iterator[list[Event]]:
    """An event for every tagged line that a function of these files executes, in this thread, within the block.

    A line that raises makes no event. A tracer that was set before, such as a debugger's, is suspended within the
    block.
    """
    files = {str(path): {line.number: line for line in lines_of(path)} for path in paths}
    events: list[Event] = []

    def enter(frame: FrameType, what: str, _: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in files or code.co_name.startswith("<"):
            return None
        return follow(files[code.co_filename])

    def follow(lines: dict[int, Line]) -> Any:
        begun: Line | None = None

        def local(frame: FrameType, what: str, _: Any) -> Any:
            nonlocal begun
            if begun and what == "line" and frame.f_lineno == begun.number:
                return local  # a comprehension in the line: from Python 3.12 on, each of its rounds is a line event
            if begun and what in ("line", "return"):
                values = {name: keep(eval(name, frame.f_globals, frame.f_locals)) for name in begun.targets}
                events.append(Event(begun.tag, begun.number, begun.code, values))
            begun = lines.get(frame.f_lineno) if what == "line" else None
            return local

        return local

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield events
    finally:
        sys.settrace(before)


def perturbed(module: ModuleType, function_name: str) -> ModuleType:
    """A copy of a module in which a function takes a dict ``eps`` and adds ``eps[name]`` to what tagged lines assign.

    Each name is perturbed once: after its last tagged assignment or, if that is in a block, which may not run, after
    the block. It does not work for functions with loops. The copy does not enter ``sys.modules``.
    """
    path = Path(module.__file__ or "")
    tree, tagged = ast.parse(path.read_text(encoding="utf-8")), {line.number: line.targets for line in lines_of(path)}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function_name]
    if not functions:
        raise InvalidInput(mismatch(f"module {module.__name__}", f"a function {function_name}", "none"))
    (function,) = functions
    last = {
        name: place
        for place, statement in enumerate(function.body)
        for number in range(statement.lineno, (statement.end_lineno or 0) + 1)
        for name in tagged.get(number, ())
        if name.isidentifier()
    }
    for name, place in sorted(
        last.items(), key=lambda item: -item[1]
    ):  # from the end, so that earlier positions stay valid
        function.body[place + 1 : place + 1] = ast.parse(f"{name} = {name} + eps.get({name!r}, 0)").body
    function.args.kwonlyargs.append(ast.arg("eps"))
    function.args.kw_defaults.append(None)
    copy = ModuleType(module.__name__)
    copy.__package__, copy.__file__ = module.__package__, module.__file__
    exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), vars(copy))
    return copy
