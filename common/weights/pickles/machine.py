"""A reader of pickles that imports nothing and calls nothing.

A pickle is a program for a stack machine; Python's own machine imports what the program names and calls it. This one
writes down what would have been called: every class or function is a ``Global``, every call a ``Built`` and every
reference to something outside a ``Persistent``. Even dictionaries are only lists of pairs, so that no key is hashed.
The opcodes are those of Python's module ``pickletools``, whose ``genops`` takes them apart.

Memory and time grow with the number of opcodes, of which there are at most ``MAX_OPCODES``. Nothing is copied: a
value that stands in many places (as in a "billion laughs") is one node, so whoever walks the nodes has to remember
which of them he has seen.

>>> import pickle
>>> from common.weights.pickles.machine import Machine
>>> node = Machine(pickle.dumps(OSError("no"))).load()
>>> node.function, node.args
(Global(module='builtins', name='OSError'), ('no',))
"""

import io
import pickletools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

# A tensor of a state_dict takes about 40.
MAX_OPCODES = 3_000_000


class Malformed(ValueError):
    """Bytes that are no pickle, or one that Python's ``pickle`` does not write."""


class Global(NamedTuple):
    """A class or a function, by name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:100]


class Node:
    """Something that is compared by identity, as comparing what it holds may take for ever."""

    __slots__ = ()


class Pairs(Node):
    """A dictionary."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []


class Persistent(Node):
    """Something that the pickle refers to outside itself: a storage of PyTorch's."""

    __slots__ = ("id",)

    def __init__(self, identifier: Any) -> None:
        self.id = identifier


class Built(Node):
    """What a function or a class would have been called with, and what the object would have been given afterwards.

    ``items`` would have been appended, ``pairs`` set as those of a dictionary; ``state`` is that of ``__setstate__``.
    """

    __slots__ = ("args", "function", "items", "keywords", "pairs", "state")

    def __init__(self, function: Any, args: tuple[Any, ...], keywords: Any = None) -> None:
        self.function, self.args, self.keywords, self.state = function, args, keywords, None
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []

    @property
    def name(self) -> str:
        """The function or class, "" if it is none; PyTorch's old format names classes with their source."""
        function = self.function
        if isinstance(function, Persistent) and isinstance(function.id, tuple) and function.id[:1] == ("module",):
            function = function.id[1]
        return str(function) if isinstance(function, Global) else ""


# Opcodes that put their argument onto the stack.
NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
LITERALS = frozenset({*NUMBERS, *TEXTS, "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
PUTS, GETS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"}), frozenset({"GET", "BINGET", "LONG_BINGET"})
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": Pairs}
FIXED_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Machine:
    """Reads the pickles that stand one after another in ``data``; together they have at most ``MAX_OPCODES``.

    ``persistent`` are the references that were met, in their order.
    """

    def __init__(self, data: bytes) -> None:
        self.stream = io.BytesIO(data)
        self.budget = MAX_OPCODES
        self.persistent: list[Persistent] = []

    @property
    def position(self) -> int:
        return self.stream.tell()

    def load(self) -> Any:
        """The next pickle as nodes; raises ``Malformed``."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # for wrong escape sequences in a damaged text
                for opcode, arg, _ in pickletools.genops(self.stream):
                    self.budget -= 1
                    if self.budget < 0:
                        raise Malformed(f"pickles of more than {MAX_OPCODES} steps")
                    self._step(opcode.name, arg)
            (result,) = self.stack
        except Malformed:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Malformed("no pickle, or a damaged one") from error
        return result

    def _step(self, name: str, arg: Any) -> None:
        if name in LITERALS:
            self.stack.append(arg)
        elif name in PUTS:
            self.memo[arg] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in GETS:
            self.stack.append(self.memo[arg])
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in FIXED_TUPLES:
            self.stack.append(tuple(self._taken(FIXED_TUPLES[name])))
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._others(name, arg)

    def _others(self, name: str, arg: Any) -> None:
        step: Callable[[Any], None] | None = getattr(self, f"_{name.lower()}", None)
        if step is None:  # buffers outside the pickle, and codes of a registry that other programs lack
            raise Malformed(f"a pickle with the step {name}, which weights do not need")
        step(arg)

    def _taken(self, number: int) -> list[Any]:
        """The last values of the stack, which are taken off; marks stay below them."""
        start = len(self.stack) - number
        if start < (self.marks[-1] if self.marks else 0):
            raise Malformed("a pickle that takes more from its stack than there is")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _marked(self) -> list[Any]:
        """What stands above the last mark."""
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._marked())

    _frozenset = _list

    def _dict(self, _: Any) -> None:
        node, values = Pairs(), self._marked()
        node.pairs = list(zip(values[::2], values[1::2], strict=True))
        self.stack.append(node)

    def _append(self, _: Any) -> None:
        self._extend(self._taken(1))

    def _appends(self, _: Any) -> None:
        self._extend(self._marked())

    _additems = _appends

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, (list, Built)):
            raise Malformed("a pickle that appends to what is no list")
        (target if isinstance(target, list) else target.items).extend(values)

    def _setitem(self, _: Any) -> None:
        self._set(self._taken(2))

    def _setitems(self, _: Any) -> None:
        self._set(self._marked())

    def _set(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, (Pairs, Built)):
            raise Malformed("a pickle that sets an item of what is no dictionary")
        target.pairs.extend(zip(values[::2], values[1::2], strict=True))

    def _pop(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self._taken(1)

    def _pop_mark(self, _: Any) -> None:
        self._marked()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _persid(self, identifier: str) -> None:
        self.persistent.append(Persistent(identifier))
        self.stack.append(self.persistent[-1])

    def _binpersid(self, _: Any) -> None:
        self._persid(*self._taken(1))

    def _global(self, names: str) -> None:
        module, _, name = names.partition(" ")
        self.stack.append(Global(module, name))

    def _stack_global(self, _: Any) -> None:
        module, name = self._taken(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed("a pickle with a class whose name is no text")
        self.stack.append(Global(module, name))

    def _reduce(self, _: Any) -> None:
        function, args = self._taken(2)
        self._call(function, args)

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        function, args, keywords = self._taken(3)
        self._call(function, args, keywords)

    def _call(self, function: Any, args: Any, keywords: Any = None) -> None:
        if not isinstance(args, tuple):
            raise Malformed("a pickle with a call whose arguments are no tuple")
        self.stack.append(Built(function, args, keywords))

    def _obj(self, _: Any) -> None:
        function, *args = self._marked()
        self._call(function, tuple(args))

    def _inst(self, names: str) -> None:
        args = self._marked()
        self._global(names)
        self._call(self.stack.pop(), tuple(args))

    def _build(self, _: Any) -> None:
        (state,) = self._taken(1)
        target = self.stack[-1]
        if not isinstance(target, Built):
            raise Malformed("a pickle that gives a state to what has none")
        target.state = state
