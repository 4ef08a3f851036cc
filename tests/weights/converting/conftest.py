"""The peers of these tests in place of the real ones, and the format "cellar"."""

from typing import Any

import pytest

from common.conversions.systems import LAYOUTS
from common.weights import peers, schemes
from common.weights.formats import npz
from common.weights.peers import Entry
from common.weights.source import Target
from common.weights.targets import TARGETS
from tests.weights.converting import cellar

WHERE = "tests.weights.converting"


def use(monkeypatch: pytest.MonkeyPatch, torch: str) -> None:
    """The attribute of ``torch_peer`` that stands for PyTorch."""
    monkeypatch.setitem(peers.PEERS, "torch", Entry(f"{WHERE}.torch_peer:{torch}", "torch", ("torch",)))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "PEER")
    own: Any = cellar
    monkeypatch.setitem(peers.PEERS, "cellar", Entry(f"{WHERE}.cellar:PEER", "cellar", ()))
    monkeypatch.setitem(LAYOUTS, "cellar LSTM", cellar.LAYOUT)
    monkeypatch.setattr(schemes, "SCHEMES", (*schemes.SCHEMES, own))
    monkeypatch.setitem(TARGETS, "cellar", Target("cellar", ".npz", "arrays of Cellar", own, npz.write, "cellar"))
    ours = TARGETS["npz"]
    monkeypatch.setitem(TARGETS, "npz", Target("npz", ".npz", ours.summary, ours.scheme, npz.write, "torch"))
