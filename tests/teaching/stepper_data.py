"""A page of the stepper for the tests: as a file, with the data embedded in it and what they say about agreement."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from reports.teaching import stepper

EMBEDDED = '<script type="application/json" id="data">'
FINITE = "finite differences"
SUMS = ("dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh")
# The data have six digits. The difference that a planted mistake makes is far above this bound, any other far below.
APART = 1e-5


class World(NamedTuple):
    """The choices at the top of the page."""

    loss: str = "every"
    factor: str = "1.0"
    bug: str = ""


EVERY = World()


class Made(NamedTuple):
    """A page as a file, the data embedded in it, and run -> quantity -> whether the numbers of all agree."""

    file: Path
    data: dict[str, Any]
    agree: dict[str, dict[str, list[bool]]]


@cache
def built(cell: str) -> tuple[str, dict[str, Any]]:
    """A page, and the data embedded in it."""
    text = stepper.lesson_page(cell)
    return text, json.loads(text.partition(EMBEDDED)[2].partition("</script>")[0])


def distinct(cell: str, folder: Path) -> Made:
    """The page with the numbers of PyTorch and finite differences shifted, so that no column can pass for another."""
    text, data = built(cell)
    agree = {key: agreement(run, data["worlds"][key.rpartition("/")[0]]) for key, run in data["runs"].items()}
    data = json.loads(json.dumps(data))
    for world in data["worlds"].values():
        for ways in world["values"].values():
            ways |= {who: moved(ways[who], by) for who, by in (("torch", 1.01), (FINITE, 0.98)) if who in ways}
    before, _, rest = text.partition(EMBEDDED)
    embedded = json.dumps(data).replace("<", "\\u003c")
    file = folder / "stepper.html"
    file.write_text(f"{before}{EMBEDDED}{embedded}</script>{rest.partition('</script>')[2]}", encoding="utf-8")
    return Made(file, data, agree)


def moved(numbers: Any, factor: float) -> Any:
    return [moved(part, factor) for part in numbers] if isinstance(numbers, list) else f"{float(numbers) * factor:.6g}"


def flat(numbers: Any) -> list[str]:
    return [text for part in numbers for text in flat(part)] if isinstance(numbers, list) else [numbers]


def agreement(run: dict[str, Any], world: dict[str, Any]) -> dict[str, list[bool]]:
    """Quantity -> step -> whether everyone who computed it has NumPy's numbers."""

    def close(mine: Any, theirs: Any) -> bool:
        pairs = [(float(a), float(b)) for a, b in zip(flat(mine), flat(theirs), strict=True)]
        return max(abs(a - b) for a, b in pairs) <= APART * (max(abs(b) for _, b in pairs) or 1)

    return {
        name: [all(close(own, who[t]) for who in world["values"][name].values()) for t, own in enumerate(values)]
        for name, values in run["values"].items()
        if name in world["values"]
    }


def steps(first: int, last: int) -> str:
    return f"step {first}" if first == last else f"steps {first} to {last}"


def title(name: str) -> str:
    return name.replace("_step", ", this step's part") + (", the sum" if name in SUMS else "")
