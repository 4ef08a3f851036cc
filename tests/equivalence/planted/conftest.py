"""The backend of a copy of an implementation in which a bug is planted."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from common.backend.contract import Backend
from common.equivalence.planting import planted


@pytest.fixture
def plant() -> Iterator[Callable[[str, str, str], Backend]]:
    """A call (file, old, new) -> the backend of a copy with that one change."""
    with ExitStack() as copies:

        def load(file: str, old: str, new: str) -> Backend:
            return importlib.import_module(f"{copies.enter_context(planted((file, old, new)))}.backend").BACKEND

        yield load
