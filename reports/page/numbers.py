"""How numbers are written: errors with two digits, milliseconds with three."""

import math

from common.study.bench import Ratio


def count(value: int) -> str:
    return f"{value:,}"


def counted(value: int, word: str) -> str:
    """1 seed, 2 seeds."""
    return f"{count(value)} {word}{'' if value == 1 else 's'}"


def error(value: float | None) -> str:
    """1.2e-15; an exact zero is "0"."""
    if value is None or not math.isfinite(value):
        return "not finite"
    return "0" if value == 0 else f"{value:.1e}"


def fraction(value: float | None) -> str:
    """Two digits: 0.28, 12, 0.0047, 4.7e-05."""
    if value is None or not math.isfinite(value):
        return "not finite"
    return digits(value, 2) if value == 0 or 9.95e-4 <= value < 9950 else f"{value:.1e}"


def percent(value: float) -> str:
    """28%, 0.0047%, 270%."""
    return f"{digits(100 * value, 2)}%" if math.isfinite(value) else "not finite"


def digits(value: float, places: int = 3) -> str:
    """``places`` significant digits, never in powers of ten: 0.0341, 1.23, 12.3, 1230."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{places - 1}e}")
    return f"{rounded:.{max(0, places - 1 - math.floor(math.log10(abs(rounded))))}f}"


def milliseconds(seconds: float) -> str:
    return digits(1000 * seconds)


def times(value: float) -> str:
    return f"{digits(value, 2) if value < 1 else f'{value:.2f}' if value < 10 else digits(value, 3)}x"


def interval(value: Ratio) -> str:
    """0.63x [0.58, 0.70]."""
    return f"{times(value.median)} [{times(value.low)[:-1]}, {times(value.high)[:-1]}]"
