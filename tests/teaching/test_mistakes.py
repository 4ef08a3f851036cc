"""The mistakes to plant in a GRU whose reset gate acts before the product; ``test_walk`` has those of other cells."""

from dataclasses import replace

import numpy as np

from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.tracing import backends as tracing
from reports.teaching import words
from reports.teaching.mistakes import mistakes
from tests.teaching.test_walk import H, I, in_world, planted_trace


def test_a_gru_whose_reset_gate_acts_before_the_product() -> None:
    """Its mistakes are others, as its lines mean something else."""
    spec = ModelSpec(cell="GRUCell", input_size=I, hidden_size=H, reset_after=False)
    example = in_world("GRU")._replace(spec=spec, params=initial_parameters(spec, 5))
    wanted, found = tracing.everything(example, ("jax",), ())["jax"].arrays, {}
    for mistake in mistakes(spec):
        trace, _ = planted_trace(example, mistake.file, mistake.old, mistake.new)
        names = trace.arrays.keys() & wanted.keys()
        apart = {name: ~np.isclose(trace.arrays[name], wanted[name], rtol=1e-9, atol=1e-12) for name in names}
        found[mistake.key] = {name for name, off in apart.items() if off.any()}
    assert [mistake.key for mistake in mistakes(spec)] == ["dh_next", "sum", "path", "candidate", "reset"]
    assert all(found.values())
    assert found["reset"] >= {"dh_prev", "dr"}
    after, before = (words.says("G7", own) for own in (replace(spec, reset_after=True), spec))
    assert (after, before) == (words.SAYS["G7"], words.RESET_BEFORE["G7"])
    assert words.says("G1", spec) == words.SAYS["G1"]
