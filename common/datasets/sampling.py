"""What several tasks share: drawing parts that have no example in common, and reading typed symbols and numbers."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.validate import require_positive_int, require_seed

Series = tuple[int, ...]
PARTS = ("train", "validation", "test")
# Test comes before validation, so that nothing but the examples of ``train`` is kept out of it.
ORDER = ("train", "test", "validation")
# So many draws in a row from other parts mean that nothing, or next to nothing, is left.
TRIES = 1000


def require_sizes(options: Any, *names: str) -> None:
    """Check the numbers of examples, the seed, and the named options that are positive integers."""
    for name in (*PARTS, *names):
        require_positive_int(name, getattr(options, name))
    require_seed(options.seed)


def streams(seed: int) -> list[np.random.Generator]:
    """One generator for each of ``PARTS``."""
    return [np.random.default_rng([seed, part]) for part in range(len(PARTS))]


def same(series: Series) -> Series:
    return series


def draw_outside(
    sample: Callable[[np.random.Generator], Series],
    rng: np.random.Generator,
    count: int,
    taken: Collection[Series],
    key: Callable[[Series], Series] = same,
) -> list[Series]:
    """``count`` examples whose keys are not ``taken``; they may repeat among themselves."""
    drawn: list[Series] = []
    while len(drawn) < count:
        tries = (sample(rng) for _ in range(TRIES))
        example = next((example for example in tries if key(example) not in taken), None)
        if example is None:
            cause = "fewer, longer or more varied examples?"
            raise InvalidInput(mismatch("options", "examples left for every part", f"{len(drawn)} of {count}", cause))
        drawn.append(example)
    return drawn


def draw_parts(
    sample: Callable[[np.random.Generator], Series], options: Any, key: Callable[[Series], Series] = same
) -> tuple[list[list[Series]], Callable[[np.random.Generator], list[Series]]]:
    """The examples of ``PARTS``, and a function that draws another epoch outside validation and test.

    No two parts have an example with the same key: each part leaves out what is in those before it in ``ORDER``.
    """
    drawn: dict[str, list[Series]] = {}
    generators = dict(zip(PARTS, streams(options.seed), strict=True))
    for name in ORDER:
        taken = keys(drawn.values(), key)
        drawn[name] = draw_outside(sample, generators[name], getattr(options, name), taken, key)
    held_out = keys((drawn["validation"], drawn["test"]), key)
    return [drawn[name] for name in PARTS], lambda rng: draw_outside(sample, rng, options.train, held_out, key)


def keys(parts: Iterable[Iterable[Series]], key: Callable[[Series], Series] = same) -> set[Series]:
    return {key(example) for part in parts for example in part}


def lengths_of(rows: Sequence[Series]) -> np.ndarray:
    return np.array([len(row) for row in rows], np.int64)


def numbers_of(text: str, symbols: Sequence[str]) -> Series:
    """The number of every character of a typed string."""
    if not text:
        raise InvalidInput(mismatch("input", f"symbols of {''.join(symbols)}", "none"))
    for place, symbol in enumerate(text, 1):
        if symbol not in symbols:
            raise InvalidInput(mismatch("input", f"symbols of {''.join(symbols)}", f"{symbol!r} at place {place}"))
    return tuple(symbols.index(symbol) for symbol in text)


def words_of(text: str) -> list[str]:
    """The words of a typed line, separated by commas or spaces."""
    words = text.replace(",", " ").split()
    if not words:
        raise InvalidInput(mismatch("input", "numbers with commas between them", repr(text)))
    return words
