"""The ladder of checks over every variant and every pair of backends, and what its rungs cover."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from common.backend import registry
from common.equivalence import ladder
from common.equivalence.comparison import PASSED
from common.equivalence.ladder import all_passed
from common.equivalence.training_rungs import SETUPS
from common.equivalence.variants import Variant, variants
from common.model.cells import LAYERS
from common.model.network import INPUTS, LOSSES, READOUTS
from common.model.run import OPTIMIZERS, SCHEDULES
from common.model.spec import CELLS, DTYPES
from common.record_types import Check, Training
from common.records import of_kind
from common.study import study
from common.study.runs import train_everywhere

GROUPS = study.check_groups(variants())
PAIRS = set(combinations(registry.DEFAULT, 2))
# Readout -> the optimiser of its rung.
RULES = {"last_step": "sgd", "last_sequence": "adam", "every_step": "rmsprop", "final_state": "adam"}
RULES |= {"encoder_decoder": "sgd"}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0].spec.dtype} {group[0].spec.label}")
def test_every_variant_agrees_over_all_pairs(group: list[Variant]) -> None:
    spec = group[0].spec
    rows = list(ladder.check({name: registry.load(name) for name in registry.DEFAULT}, group))
    failed = [row for row in rows if row.verdict != PASSED]
    assert not failed, failed[:3]
    assert all_passed(row.record() for row in rows)
    states = [f"{name}_n" for name in spec.state_names]
    initial = [f"d{name}_0" for name in spec.state_names]
    weights = ["weight_ih", "weight_hh"] + ["bias_ih", "bias_hh"] * spec.bias
    grads = {f"d{name}" for name in weights} | {"dx", *initial}
    expected = {"complex step": grads, "forward": {"y", *states}, "gradient": grads}
    thorough = spec.cell in LAYERS and spec.nonlinearity == "tanh" and spec.reset_after
    rules = RULES if thorough else {kind: RULES[kind] for kind in ("last_step", "last_sequence")}
    if spec.bias:
        layer = "" if spec.is_cell else "_l0"
        expected["training"], expected["loss"] = set(), set()
        for kind, rule in rules.items():
            tables = ["embedding"] * (kind in ("final_state", "encoder_decoder"))
            decoder = [f"decoder.{name}{layer}" for name in weights] * (kind == "encoder_decoder")
            tables += ["decoder_embedding"] * (kind == "encoder_decoder")
            around = ["readout.weight", "readout.bias", *(f"{name}.weight" for name in tables), *decoder]
            params = [f"rnn.{name}{layer}" for name in weights] + around
            expected["training"] |= {f"{kind} {rule} {name}" for name in ("curve", *params)}
            of_loss = ["loss", *(f"d{name}" for name in weights), *(f"d{n.removesuffix('_l0')}" for n in around)]
            expected["loss"] |= {f"{kind} {name}" for name in of_loss}
    found = {check: {row.quantity for row in rows if row.check == check} for check in expected}
    assert found == expected
    assert {row.check for row in rows} == set(expected)
    steps = {row.quantity.split()[0]: row.measured.count for row in rows if row.quantity.endswith("curve")}
    assert steps == ({kind: 100 if kind == "last_step" else 20 for kind in rules} if spec.bias else {})
    count = Counter((row.check, row.variant, row.quantity, row.a, row.b) for row in rows)
    assert set(count.values()) == {1}
    asked = [name for name in registry.DEFAULT if spec.reset_after or name not in ("flax", "torch.nn")]
    for check, quantities in expected.items():
        states_seen = 1 if check in ("loss", "training") else 2
        pairs = set(combinations(asked, 2))
        pairs |= {(name, "exact") for name in asked} if check in ("forward", "gradient") else set()
        pairs = {("numpy", "complex step")} if check == "complex step" else pairs
        assert {(row.a, row.b) for row in rows if row.check == check} == pairs
        assert sum(row.check == check for row in rows) == states_seen * len(quantities) * len(pairs)


def test_training_covers_every_readout_loss_input_rule_and_schedule() -> None:
    fields = (("readout", READOUTS), ("loss", LOSSES), ("inputs", INPUTS))
    for name, options in fields:
        assert {getattr(setup, name) for setup in SETUPS} == set(options)
    for name, options in (("name", OPTIMIZERS), ("schedule", SCHEDULES)):
        assert {getattr(setup.optimizer, name) for setup in SETUPS} == set(options)
    assert {setup.readout: setup.optimizer.name for setup in SETUPS} == RULES
    assert [setup.carried for setup in SETUPS].count(True) == 1
    assert {rule.name for rule in (setup.optimizer for setup in SETUPS) if rule.momentum} == {"sgd", "rmsprop"}
    assert sum(setup.optimizer.clip_norm is not None for setup in SETUPS) >= 2
    assert [setup.readout for setup in SETUPS if setup.ragged] == ["final_state", "encoder_decoder"]


def test_variants_cover_the_product() -> None:
    def key(v: Variant) -> tuple[object, ...]:
        return v.spec.cell, v.spec.dtype, v.spec.bias, v.spec.nonlinearity, v.spec.reset_after, v.given_state

    seen = Counter(map(key, variants()))
    assert set(seen.values()) == {1}
    assert len(seen) == len(DTYPES) * 2 * 2 * (2 * len(("RNN", "RNNCell", "GRU", "GRUCell")) + 4)
    assert {cell for cell, *_ in seen} == set(CELLS)


@pytest.mark.parametrize("cell", ["RNN", "RNNCell", "LSTM"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_sine_curves_agree_to_1e_9_over_100_epochs(cell: str, optimizer: str) -> None:
    runs = study.sine_runs([cell], ["float64"], seed=0)
    (run,) = [run for run in runs if run[1] == "windows" and run[2].optimizer.name == optimizer]
    records = train_everywhere(registry.DEFAULT, *run)
    curves = {r["backend"]: np.array([*r["losses"], r["final_loss"]]) for r in of_kind(records, Training)}
    assert {name: len(curve) for name, curve in curves.items()} == dict.fromkeys(registry.DEFAULT, 101)
    for a, b in PAIRS:
        assert (abs(curves[a] - curves[b]) / curves[a]).max() < 1e-9
        assert curves[a][-1] < curves[a][0] / 10
    rows = of_kind(records, Check)
    assert len(rows) == 2 * len(PAIRS)
    assert all(row["verdict"] == PASSED for row in rows)
