"""How numbers are written: errors with two digits, milliseconds with three."""

import math

from common.bench import Ratio


def count(value: int) -> str:
    return f"{value:,}"


def error(value: float | None) -> str:
    """1.2e-15; an exact zero is "0"."""
    if value is None or not math.isfinite(value):
        return "not finite"
    return "0" if value == 0 else f"{value:.1e}"


def fraction(value: float | None) -> str:
    """Two digits: 0.28, 12, 4.7e-05."""
    if value is None or not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    if not 0.0095 <= value < 9950:
        return f"{value:.1e}"
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"


def percent(value: float) -> str:
    """28%, 0.0047%."""
    return f"{100 * value:.2g}%" if 100 * value < 99.5 else f"{100 * value:.0f}%"


def digits(value: float, places: int = 3) -> str:
    """``places`` significant digits, never in powers of ten: 0.0341, 1.23, 12.3, 1230."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    rounded = round(value, places - 1 - exponent)
    exponent = math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(0, places - 1 - exponent)}f}"


def milliseconds(seconds: float) -> str:
    return digits(1000 * seconds)


def times(value: float) -> str:
    return f"{digits(value, 2) if value < 1 else f'{value:.2f}' if value < 10 else digits(value, 3)}x"


def interval(value: Ratio) -> str:
    """0.63x [0.58, 0.70]."""
    return f"{times(value.median)} [{times(value.low)[:-1]}, {times(value.high)[:-1]}]"
