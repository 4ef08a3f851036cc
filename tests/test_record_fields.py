"""Every record that is read has the fields of its kind, each in its type, also in the objects within it."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from common import records
from common.equivalence.variants import Variant
from common.errors import InvalidInput
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from common.record_parts import Optimizer, Problem, Run, Spec
from common.records import read, writing
from tests.task_records import outcome
from tests.test_records import replace_lines

SPEC = asdict(ModelSpec(cell="LSTM", input_size=3, hidden_size=7, forget_bias=1.0))
PROBLEM = Variant(spec=ModelSpec(**SPEC), batch=2, lengths=(3, 0)).data
RULE = {"name": "adam", "lr": 0.01, "momentum": 0.0, "betas": [0.9, 0.999], "alpha": 0.99, "eps": 1e-8}
RULE |= {"clip_norm": 1.0, "schedule": "step", "schedule_steps": 7, "schedule_factor": 0.1}
RUN = {"task": "sine", "reading": "windows", "options": {"window": 25}, "spec": SPEC, "inputs": "features"}
RUN |= {"optimizer": RULE, "epochs": 3, "batch_size": 4, "patience": 2, "input_bias": -3.0, "seed": 5}
FILE = {"path": "a.pt", "sha256": "0f", "layer": "rnn", "inputs": None, "expect": "y.npy", "batch_first": True}
FILE |= {"fingerprint": "1e", "guests": ["expected"]}
CHECK: dict[str, Any] = {
    **dict.fromkeys(("check", "cell", "variant", "dtype", "quantity", "a", "b", "verdict", "reason"), "x"),
    **dict.fromkeys(("error", "scale", "tolerance", "ratio", "resolution"), 0.5),
    "kind": "check",
    "problem": PROBLEM,
    "run": RUN,
    "count": 3,
    "drawn": False,
    "options": ["plain"],
    "resolutions": {"y": 0.5, "dx": None},
    "verdicts": {"y": "passed", "dx": "undecided"},
    "smallest": PROBLEM,
    "file": FILE,
}
# A wrong value for each field, and what the message says of it: the names that lead to it, and the type.
WRONG: list[tuple[dict[str, Any], str]] = [
    *(({name: value}, f"{name} in .*: expected a string") for name in ("a", "verdict") for value in (None, 7, ["x"])),
    *(({name: True}, f"{name} in .*: expected a number or null") for name in ("error", "ratio", "resolution")),
    *(({"count": value}, "count in .*: expected an integer") for value in (None, True, 1.5, "3", {})),
    *(({"drawn": value}, "drawn in .*: expected true or false") for value in (None, 1, "yes")),
    *(({"options": value}, "options in .*: expected a list") for value in (None, "plain", {})),
    ({"options": ["plain", 3]}, "item 1 of options in .*: expected a string, got 3"),
    *(({"verdicts": value}, "verdicts in .*: expected an object") for value in (None, [], "passed")),
    ({"verdicts": {"y": None}}, "y of verdicts in .*: expected a string, got None"),
    ({"resolutions": {"y": []}}, r"y of resolutions in .*: expected a number or null, got \[\]"),
    ({"resolutions": {"dx": True}}, "dx of resolutions in .*: expected a number or null, got True"),
    ({"problem": "--cell RNN"}, "problem in .*: expected an object or null, got '--cell RNN'"),
    ({"problem": PROBLEM | {"steps": "1"}}, "steps of problem in .*: expected an integer, got '1'"),
    ({"problem": PROBLEM | {"lengths": [1.5]}}, "item 0 of lengths of problem in .*: expected an integer, got 1.5"),
    ({"problem": PROBLEM | {"spec": {}}}, "cell of spec of problem in .*: expected a value, got nothing"),
    (
        {"problem": PROBLEM | {"spec": SPEC | {"bias": 1}}},
        "bias of spec of problem in .*: expected true or false, got 1",
    ),
    ({"run": RUN | {"optimizer": "sgd"}}, "optimizer of run in .*: expected an object, got 'sgd'"),
    ({"smallest": None}, "smallest in .*: expected an object, got None"),
    ({"file": FILE | {"inputs": 3}}, "inputs of file in .*: expected a string or null, got 3"),
    ({"file": FILE | {"guests": [1]}}, "item 0 of guests of file in .*: expected a string, got 1"),
    ({"file": {"path": "a.pt"}}, ".* of file in .*: expected a value, got nothing"),
]


def written(path: Path, record: Any) -> Path:
    with path.open("w", encoding="utf-8") as stream, writing(stream, ["rosetta", "check"]) as writer:
        writer.write(record)
    return path


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=str)
def test_a_field_of_another_type_is_refused_by_name(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert read(written(tmp_path / "good.jsonl", CHECK))[1] == CHECK
    with pytest.raises(InvalidInput, match=f"^{message}"):
        read(written(tmp_path / "bad.jsonl", CHECK | fields))


@pytest.mark.parametrize("name", [name for name in CHECK if name != "kind"])
@pytest.mark.parametrize("value", [None, True, 7, "text", [], {}, {"y": []}, {"y": True}, [3]], ids=repr)
def test_a_check_record_has_every_field_in_its_type(name: str, value: object, tmp_path: Path) -> None:
    """Those of the right type are read: a number or null where a number is, an empty list of options."""
    right = [type(CHECK[name])]
    if name in ("error", "scale", "tolerance", "ratio", "resolution"):
        right += [type(None), int]
    if name in ("problem", "run"):
        right = [type(None)]
    nested = ({"y": []}, {"y": True}, [3], *([{}] if name in ("smallest", "file") else []))
    if type(value) in right and value not in nested:
        assert read(written(tmp_path / "other.jsonl", CHECK | {name: value}))[1][name] == value  # pyright: ignore
        return
    with pytest.raises(InvalidInput, match=f"^(.* of )?{name} in .*line 2: expected "):
        read(written(tmp_path / "bad.jsonl", CHECK | {name: value}))


@pytest.mark.parametrize("kind", records.KINDS)
def test_a_record_lacks_nothing(kind: str, tmp_path: Path) -> None:
    """Of any kind, and in the objects of its fields."""
    required = records.TYPES[kind].__required_keys__ - {"kind"}
    assert required
    header = json.dumps({"kind": "header", "schema": 2, "command": [], "seed": None, "version": "", "python": ""})
    path = tmp_path / "bad.jsonl"
    lines = [json.dumps({"kind": kind, "schema": 2})] if kind == "header" else [header, json.dumps({"kind": kind})]
    replace_lines(path, [*lines, json.dumps({"kind": "end", "records": 1})])
    with pytest.raises(
        InvalidInput, match=f"^({'|'.join(required)}) in .* line {len(lines)}: expected .*, got nothing$"
    ):
        read(path)


def test_a_check_record_lacks_nothing(tmp_path: Path) -> None:
    for name in CHECK.keys() - {"kind", "smallest", "file"}:
        with pytest.raises(InvalidInput, match=f"^{name} in .* line 2: expected a value, got nothing$"):
            read(written(tmp_path / "bad.jsonl", {key: value for key, value in CHECK.items() if key != name}))
    small = {key: value for key, value in CHECK.items() if key not in ("smallest", "file")} | {"more": 3}
    assert read(written(tmp_path / "good.jsonl", small))[1] == small


def test_the_types_of_records_are_those_of_what_they_hold() -> None:
    """The fields of a specification, of an optimiser, of a problem and of a run are those of their classes."""
    for kind, of in ((Spec, ModelSpec), (Optimizer, OptimizerSpec), (Problem, Variant)):
        assert list(kind.__annotations__) == [field.name for field in fields(of)]
    own = {field.name for field in fields(RunSpec)} - {"network"}
    assert own < set(Run.__annotations__)
    assert set(RUN) == set(Run.__annotations__)


def test_the_path_to_a_wrong_item_goes_from_the_inside_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^item 1 of item 0 of curve in .*: expected a number"):
        read(written(tmp_path / "bad.jsonl", outcome("LSTM") | {"curve": [[1, "x"]]}))
