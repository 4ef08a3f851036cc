"""The bytes of an ONNX file, which are one protobuf message, parsed within bounds.

A message of two bytes becomes an object of some hundred, and messages may contain one another without end, so the
fields are counted before protobuf is given the file (encoding: protobuf.dev/programming-guides/encoding).
"""

import importlib
from pathlib import Path
from typing import Any

from common.errors import BackendBroken, BackendMissing
from common.weights.source import Unusable

# protobuf itself refuses messages that are nested deeper than 100.
MAX_FIELDS, MAX_DEPTH = 1_000_000, 100
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED = {FIXED64: 8, FIXED32: 4}
GRAPH = 7  # the field of a ModelProto


def import_onnx(path: Path) -> Any:
    """The package ``onnx``. Raises ``BackendMissing``, which names the extra, or ``BackendBroken``."""
    try:
        return importlib.import_module("onnx")
    except Exception as error:
        where = f"{path} is a file of ONNX"
        if isinstance(error, ModuleNotFoundError) and error.name == "onnx":
            raise BackendMissing(f"{where}, which is not installed; run: pip install -e '.[onnx]'") from error
        text = f"{where}, which is installed but fails on import: {type(error).__name__}: {error}"
        raise BackendBroken(text) from error


def looks_like_a_model(data: bytes) -> bool:
    """Whether the fields at the top of the message are a ModelProto's, fill the file, and hold a graph."""
    kinds = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, GRAPH: BYTES, 8: BYTES}
    kinds |= {14: BYTES, 20: BYTES, 25: BYTES, 26: BYTES}
    position, numbers = 0, set()
    try:
        while position < len(data):
            number, kind, _, position = _field(data, position, len(data))
            if kinds.get(number) != kind or len(numbers) > MAX_FIELDS:
                return False
            numbers.add(number)
    except Unusable:
        return False
    return GRAPH in numbers


def parse(onnx: Any, data: bytes) -> Any:
    """The ModelProto. Raises ``Unusable``."""
    _require_bounded(onnx, data)
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf has an error of its own for each of its implementations
        raise Unusable("not a message of ONNX: cut off or damaged?") from error
    if not model.HasField("graph"):
        raise Unusable("it has no graph")
    if not len(model.opset_import):
        raise Unusable("it names no version of its operators: cut off?")
    return model


def _require_bounded(onnx: Any, data: bytes) -> None:
    """Walk through all messages, as ONNX's description of them says, without making an object of any."""
    fields, tables, texts = 0, {}, {}
    waiting = [(0, len(data), onnx.ModelProto.DESCRIPTOR, 1)]
    while waiting:
        position, end, kind, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise Unusable(f"its messages are nested deeper than {MAX_DEPTH}")
        if kind.full_name not in tables:
            tables[kind.full_name] = {field.number: field.message_type for field in kind.fields}
            texts[kind.full_name] = {field.number for field in kind.fields if field.type == field.TYPE_STRING}
        inner_kinds, names = tables[kind.full_name], texts[kind.full_name]
        while position < end:
            number, wire, start, position = _field(data, position, end)
            fields += 1
            if fields > MAX_FIELDS:
                raise Unusable(f"it has more than {MAX_FIELDS} fields")
            inner = inner_kinds.get(number)
            if inner is not None and wire == BYTES and start < position:
                waiting.append((start, position, inner, depth + 1))
            elif number in names and wire == BYTES:
                _require_text(data, start, position)


def _require_text(data: bytes, start: int, end: int) -> None:
    """Raise unless this is text: protobuf gives bytes in place of text that is none."""
    try:
        data[start:end].decode()
    except UnicodeDecodeError as error:
        raise Unusable(f"the text at byte {start} is not UTF-8") from error


def _field(data: bytes, position: int, end: int) -> tuple[int, int, int, int]:
    """Number and wire type of the field here, where its content begins, and where it ends."""
    tag, position = _varint(data, position, end)
    kind = tag & 7
    if kind == VARINT:
        _, after = _varint(data, position, end)
    elif kind in FIXED:
        after = position + FIXED[kind]
    elif kind == BYTES:
        size, position = _varint(data, position, end)
        after = position + size
    else:
        raise Unusable(f"not a message of ONNX: byte {position - 1} begins no field")
    if after > end:
        raise Unusable(f"the field at byte {position} claims {after - position} bytes of {end - position}: cut off?")
    return tag >> 3, kind, position, after


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise Unusable(f"it ends within a number at byte {position}: cut off?")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise Unusable(f"not a message of ONNX: the number at byte {position - 10} has no end")
