"""Pickles that would run something, take for ever, or need more memory than there is: nothing of it happens."""

import contextlib
import importlib
import io
import os
import pickle
import struct
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import InvalidInput
from common.weights import files, limits
from common.weights.pickles import machine
from common.weights.pickles.machine import Built, Global, Machine, Malformed
from tests.weights.formats.pytorch.torch_containers import with_entries
from tests.weights.formats.pytorch.torch_models import same_arrays


class Calls:
    """Unpickled, it calls a function, and its state would be given to what came out."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return *self.call, {"state": 1}


def traps(folder: Path) -> dict[str, Any]:
    """Ways to make a folder of this name when they are unpickled."""
    made = str(folder / "sprung")
    return {
        "os.system": Calls(os.system, f"mkdir {made}"),
        "os.mkdir": Calls(os.mkdir, made),
        "eval": Calls(eval, f"__import__('os').mkdir({made!r})"),
        "exec": Calls(exec, f"import os; os.mkdir({made!r})"),
        "nested": [{"a": (Calls(print, Calls(os.mkdir, made)),)}],
        "as a key": {Calls(os.mkdir, made): 1},
    }


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["os.system", "os.mkdir", "eval", "exec", "nested", "as a key"])
def test_nothing_that_a_file_names_is_run(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """The weights beside it are read."""
    state, trap = torch.nn.LSTM(3, 5).state_dict(), traps(tmp_path)[name]
    for value in ({"trap": trap, "state_dict": state}, {"state_dict": {**state, "trap": trap}}):
        torch.save(value, tmp_path / "own.pt", **options)
        assert same_arrays(files.read(tmp_path / "own.pt").params, state, "state_dict.")
        assert not (tmp_path / "sprung").exists()
    torch.save(trap, tmp_path / "alone.pt", **options)
    (tmp_path / "alone.pkl").write_bytes(pickle.dumps(trap))
    for file in ("alone.pt", "alone.pkl"):
        with pytest.raises(InvalidInput, match="no arrays can be read from it"):
            files.read(tmp_path / file)
        assert not (tmp_path / "sprung").exists()
    with contextlib.suppress(Exception):  # the state is refused, after the call
        pickle.loads(pickle.dumps(trap))
    assert (tmp_path / "sprung").exists()  # it would have run


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_nothing_in_torchscript_is_run(tmp_path: Path) -> None:
    """Neither its pickles nor its code, not even where the code is broken."""
    module = torch.nn.LSTM(3, 5)
    torch.jit.script(module).save(tmp_path / "own.pt")
    state, trap = dict(module.named_parameters()), traps(tmp_path)["os.mkdir"]
    for entries in (
        {"constants.pkl": pickle.dumps((trap,), 2)},
        {"code/__torch__/torch/nn/modules/rnn.py": b"import os\nos.abort()\n"},
        {"code/__torch__/torch/nn/modules/rnn.py.debug_pkl": pickle.dumps(trap)},
    ):
        (tmp_path / "changed.pt").write_bytes(with_entries(tmp_path / "own.pt", dict(entries)))
        assert same_arrays(files.read(tmp_path / "changed.pt").params, state)
    (tmp_path / "changed.pt").write_bytes(with_entries(tmp_path / "own.pt", {"data.pkl": pickle.dumps(trap, 2)}))
    with pytest.raises(InvalidInput, match="no arrays can be read from it"):
        files.read(tmp_path / "changed.pt")
    assert not (tmp_path / "sprung").exists()


NAMED = {
    "GLOBAL": b"\x80\x02}X\x01\x00\x00\x00acplanted\nThing\n)\x81s.",
    "STACK_GLOBAL": b"\x80\x04}\x8c\x01a\x8c\x07planted\x8c\x05Thing\x93)\x81s.",
}


@pytest.mark.parametrize("data", NAMED.values(), ids=NAMED)
def test_no_module_is_imported(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own.pkl").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"no arrays can be read from it \(a: an object of planted\.Thing\)"):
        files.read(tmp_path / "own.pkl")
    assert "planted" not in sys.modules
    with pytest.raises(SystemExit):
        pickle.loads(data)


def laughs(depth: int, pair: bytes) -> bytes:
    """Lists, tuples or dictionaries of which each holds the one before twice: 2**depth values."""
    return b"\x80\x02]" + b"".join(pair.replace(b"#", bytes([k])) for k in range(depth)) + b"."


HUGE = struct.pack("<Q", 2**62)
BOMBS = {
    "lists that hold one another twice": laughs(200, b"q#0](h#h#e"),
    "tuples that hold one another twice": laughs(200, b"q#0h#h#\x86"),
    "keys that take for ever to hash": laughs(200, b"q#0h#h#\x86")[:-1] + b"}q\xfeh\x00Ns.",
    "dictionaries that hold one another twice": laughs(200, b"q#0}(K\x01h#K\x02h#u"),
    "a list that holds itself": b"\x80\x02]q\x00(h\x00h\x00e.",
    "a text of 4 EiB": b"\x80\x04\x8d" + HUGE + b"abc.",
    "bytes of 4 EiB": b"\x80\x04\x8e" + HUGE + b"abc.",
    "an array of bytes of 4 EiB": b"\x80\x05\x96" + HUGE + b"abc.",
    "a frame of 4 EiB": b"\x80\x04\x95" + HUGE + b"]\x94.",
    "a text of 4 GiB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a number of 2 GiB": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "a number of a million digits": b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
    "a memo at place 4294967295": b"\x80\x02]r\xff\xff\xff\xff.",
    "nested twenty thousand times": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "tuples nested twenty thousand times": b"\x80\x02)" + b"\x85" * 20_000 + b".",
    "objects nested": b"\x80\x02" + b"ca\nb\n)R" + b"q\x00ca\nb\nh\x00\x85R" * 9_000 + b".",
    "steps without end": b"\x80\x02" + b"N0" * 40_000 + b"N.",
    "a name of a megabyte": b"\x80\x02}X" + struct.pack("<L", 2**20) + b"a" * 2**20 + b"]s.",
    "no stop": b"\x80\x02]]]",
    "nothing on the stack": b"\x80\x020000.",
    "a mark under a value that is taken": b"\x80\x02N(\x85.",
    "a class without a name": b"\x80\x04KK\x93.",
    "an unknown opcode": b"\x80\x02\xff.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "a buffer outside": b"\x80\x05\x97.",
    "a state for a number": b"\x80\x02K\x01}b.",
    "an item for a tuple": b"\x80\x02)K\x01a.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_soon_and_in_little_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "MAX_OPCODES", 70_000)
    (tmp_path / "own.pkl").write_bytes(BOMBS[name])
    with zipfile.ZipFile(tmp_path / "own.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("own/data.pkl", BOMBS[name])
    for path in (tmp_path / "own.pkl", tmp_path / "own.pt"):
        start = time.process_time()
        tracemalloc.start()
        try:
            with pytest.raises(InvalidInput):
                files.read(path)
            assert tracemalloc.get_traced_memory()[1] < 100 * limits.MiB
        finally:
            tracemalloc.stop()
        assert time.process_time() - start < 60


class View:
    """Stands for a tensor where it is pickled."""


def views(sizes: Any, strides: Any, offset: Any = 0, number: int = 1) -> bytes:
    """A pickle of tensors that all view a storage of 4 numbers, as PyTorch describes them."""
    stream, rebuild = io.BytesIO(), importlib.import_module("torch._utils")._rebuild_tensor_v2

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if obj is stream else None

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, View):
                return rebuild, (stream, offset, sizes, strides, False, {})
            return NotImplemented

    Pickler(stream, 2).dump([View() for _ in range(number)])
    return stream.getvalue()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (((10 * 2**30,), (1,)), "a tensor of (10737418240) that reaches beyond its storage of 4 elements"),
        (((10 * 2**30,), (0,)), "its arrays take more than 256 MiB together"),
        (((2**20, 2**20), (0, 0)), "its arrays take more than 256 MiB together"),
        (((2**20,), (0,), 0, 100), "its arrays take more than 256 MiB together"),
        (((2, 3), (3, 1)), "reaches beyond its storage"),
        (((2,), (1,), 3), "reaches beyond its storage"),
        (((2,), (-1,), 1), "a tensor whose shape is none"),
        (((2,), (1,), -1), "a tensor whose shape is none"),
        (((2**40, 2**40), (0, 0)), "a tensor whose shape is none"),
        (((2,), (1, 1)), "a tensor whose shape and strides do not fit together"),
        (((True,), (1,)), "a tensor whose shape is none"),
        (((1,) * 40, (1,) * 40), "a tensor whose shape is none"),
        ((("a",), (1,)), "a tensor whose shape is none"),
        ((7, 7), "a tensor whose shape is none"),
    ],
)
def test_a_tensor_that_claims_more_than_there_is(arguments: Any, reason: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.pt", "w") as file:
        file.writestr("own/data.pkl", views(*arguments))
        file.writestr("own/data/0", bytes(16))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as caught:
            files.read(tmp_path / "own.pt")
        assert tracemalloc.get_traced_memory()[1] < 300 * limits.MiB
    finally:
        tracemalloc.stop()
    assert reason in str(caught.value)


def test_views_within_the_storage_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.pt", "w") as file:
        file.writestr("own/data.pkl", views((2, 2), (1, 2)))
        file.writestr("own/data/0", struct.pack("<4f", 1, 2, 3, 4))
    assert files.read(tmp_path / "own.pt").params["0"].tolist() == [[1, 3], [2, 4]]


def test_the_machine_reads_what_python_does() -> None:
    """Every protocol, with what would have been called in place of what is made."""
    value = [{"a": (1, -2.5, None, True, "ä", b"\0\xff", 2**200)}, [], (), ((1,), (1, 2), (1, 2, 3)), {1, 2}, {}]
    for protocol in range(6):
        data = pickle.dumps(value, protocol)
        found = Machine(data).load()
        ((_, first),) = found[0].pairs
        numbers = [part for part in first if not isinstance(part, Built)]
        assert numbers == [part for part in value[0]["a"] if not (isinstance(part, bytes) and protocol < 3)]  # type: ignore[index]
        assert found[1:4] == value[1:4]
        assert found[5].pairs == []
    error = Machine(pickle.dumps(KeyError("k"))).load()
    assert (error.function, error.args) == (Global("builtins", "KeyError"), ("k",))


def test_all_pickles_of_a_file_share_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_OPCODES", 10)
    reader = Machine(pickle.dumps([1, 2], 2) * 2)
    reader.load()
    with pytest.raises(Malformed, match="more than 10 steps"):
        reader.load()
