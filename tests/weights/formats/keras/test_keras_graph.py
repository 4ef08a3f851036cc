"""Which layers follow one another, in models of many layers."""

from time import process_time
from typing import Any

from common.weights.formats.keras.graph import followers


def layer(kind: str, name: str) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name}}


def test_many_layers_take_time_in_proportion() -> None:
    chain = [layer("Dropout", f"d{k}") for k in range(20_000)]
    begun = process_time()
    assert followers([layer("LSTM", "a"), *chain, layer("LSTM", "b")]) == {"a": "b"}
    assert process_time() - begun < 5
