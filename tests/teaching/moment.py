"""What the stepper must show at a moment, worked out from the data of the page; numbers are formatted again here."""

import html
import re
from collections.abc import Iterator
from typing import Any

from tests.teaching.stepper_data import EVERY, FINITE, SUMS, Made, World, flat, steps, title


def written(text: str, digits: int) -> str:
    """A number as the page must show it."""
    value = float(text)
    if not value:
        return "0"
    parts = f"{abs(value):.{digits - 1}e}".split("e")
    if 1e-3 <= abs(value) < 1e5:
        size = f"{abs(value):.{digits - 1 - int(parts[1])}f}"
    else:
        size = f"{parts[0]}e{int(parts[1])}".replace("-", "−")
    return ("−" if value < 0 else "+") + size


def hue(text: str) -> str:
    return "−" if float(text) < 0 else "+" if float(text) > 0 else ""


def note_of(name: str, quantities: dict[str, Any]) -> str:
    """The words under a name, where they are the same at every moment."""
    own = {"x": "input", "dc_next": "from later", "dh_prev": "sent back", "dc_prev": "sent back", "s": "into W_hn"}
    if "q_r" in quantities and re.fullmatch("[aq]_[rzn]", name):
        return f"{'x' if name[0] == 'a' else 'h'} into {name[2:]}"
    if name in own or "weight" in name or "bias" in name:
        return own.get(name, "")
    if name in quantities and name[0] != "d" and name[:2] != "a_":
        return quantities[name]["meaning"]
    return f"∂L/∂{name[1:]}" if name[0] == "d" else f"into {name[2:]}"


class Moment:
    """What must be seen at a moment, in the words and the order of the page."""

    def __init__(self, made: Made, place: int, world: World = EVERY, pinned: str = ""):
        self.data, self.made, self.place, self.world, self.pinned = made.data, made, place, world, pinned
        self.run, self.agree = made.data["runs"]["/".join(world)], made.agree["/".join(world)]
        self.others = made.data["worlds"][f"{world.loss}/{world.factor}"]
        self.start, self.target = self.others["given"]["start"], self.others["given"]["target"]
        self.count, self.moments = made.data["sizes"]["steps"], made.data["moments"]
        self.t, self.phase, self.tag, self.sets, self.number = (
            self.moments[place][key] for key in ("t", "phase", "tag", "sets", "number")
        )
        self.name, self.own_tag = pinned or self.sets[0], made.data["tags"][self.tag]
        self.words = f"step {self.t + 1} of {self.count}, {self.phase}, line ({self.tag})"
        # Quantity and step -> the numbers that were set last, and whether no later line sets them again.
        given = self.others["values"]["x"]["given"]
        self.known: dict[tuple[str, int], tuple[Any, bool]] = {("x", t): (x, False) for t, x in enumerate(given)}
        for done in self.moments[: place + 1]:
            early = self.run["early"].get(done["tag"], {})
            for name in done["sets"]:
                values = early.get(name, self.run["values"][name])
                self.known[name, done["t"]] = values[done["t"]], name not in early
        self.added = min((t for name, t in self.known if name in SUMS), default=None)

    def step(self, name: str) -> Any:
        """The step whose value is shown; for a sum, the step that was added last."""
        return self.added if name in SUMS else self.t

    def now(self, name: str, step: int | None = None) -> tuple[Any, bool]:
        return self.known.get((name, self.step(name) if step is None else step), (None, False))

    def rows(self, name: str) -> list[str]:
        """The labels of a quantity's numbers."""
        own = self.data["quantities"].get(name, self.data["quantities"]["h"])
        return [f"{row}, {c}" for row in own["rows"] for c in own["columns"]] if own["columns"] else own["rows"]

    def differs(self, name: str, step: int) -> bool:
        return self.now(name, step)[1] and name in self.agree and not self.agree[name][step]

    def block(self, name: str) -> dict[str, Any]:
        t, own, missing = self.t, self.now(name)[0], "not yet"
        note = note_of(name, self.data["quantities"])
        if name in ("h_prev", "c_prev"):
            before, note = self.run["values"][name[0]], f"{name[0]} of step {t}" if t else "start"
            own = before[t - 1] if t else self.start[name[0]]
        elif name == "target":
            own, missing, note = self.target[t], "none", "counts in L" if self.target[t] else "not in L"
        elif name == "dy":
            own, note = self.others["given"]["dy"][t] if self.phase == "backward" else None, "its own loss"
        elif name == "dh_next" and t + 1 == self.count:
            missing, note = "none", "none: last step"
        elif name == "dh_next":
            own, note = self.run["values"]["dh_prev"][t + 1] if self.phase == "backward" else None, f"from step {t + 2}"
        differs = self.differs("dh_prev", t + 1) if name == "dh_next" else self.differs(name, self.step(name))
        numbers = [[written(text, 4)] * 2 + [hue(text)] for text in flat(own)] if own else []
        return {
            "cells": numbers or [["–", missing, ""]] * len(self.rows(name)),
            "note": "set now" if name in self.sets else note,
            "mark": "✗" if differs else "",
            "said": "differs" if differs else "",
            "pressed": str(name == self.pinned).lower() if name in self.data["quantities"] else "",
        }

    def boxes(self) -> Iterator[dict[str, Any]]:
        def squares(numbers: Any) -> list[str]:
            shown = [(hue(text) or "0") + hue(text) for text in flat(numbers)] if numbers else []
            return shown or [""] * len(self.rows("h"))

        names = ["x", *self.start, "dh"]
        start = [squares(self.start[name]) if name in self.start else [] for name in names]
        yield {"title": "start", "now": "", "small": "", "label": "", "current": "", "squares": start}
        for step in range(self.count):
            here, counts = step == self.t, self.target[step] is not None
            has = " ".join(name for name in names if (name, step) in self.known)
            label = f"Step {step + 1}"
            if here:
                label += ", now"
            if counts:
                label += ", counts in the loss"
            yield {
                "title": str(step + 1),
                "now": "now" if here else "",
                "small": "counts in L" if counts else "",
                "label": f"{label}; known: {has}",
                "current": "step" if here else "false",
                "squares": [squares(self.now(name, step)[0]) for name in names],
            }

    def verdict(self) -> str:
        step, (own, final) = self.step(self.name), self.now(self.name)
        if self.name == "x":
            return "This is given, not computed."
        if own is None:
            return "Not yet computed."
        if not final:
            rest = (m["tag"] for m in self.moments[self.place + 1 :] if m["t"] == step and self.name in m["sets"])
            return f"It is compared after line ({next(rest)}) has set it again."
        if self.name not in self.agree:
            return "Only NumPy has a line for it, so there is nothing to compare."
        return "✓ agree" if self.agree[self.name][step] else "✗ NumPy differs"

    def ways(self) -> list[list[str]]:
        """The rows of the table that compares four ways, including its header and the differences."""
        name, step, labels, (own, final) = self.name, self.step(self.name), self.rows(self.name), self.now(self.name)

        def column(head: str, numbers: Any, gap: str = "") -> list[str]:
            shown = [written(text, 6) for text in flat(numbers)] if numbers else ["–"] * len(labels)
            return [head, *shown, gap.replace("-", "−").replace("+", "") if gap and float(gap) else gap and "0"]

        def others() -> Iterator[list[str]]:
            for head, who in (("JAX", "jax"), ("PyTorch", "torch"), (FINITE, FINITE)):
                there = final and who in self.others["values"].get(name, {})
                numbers = self.others["values"][name][who][step] if there else None
                yield column(head, numbers, self.run["gaps"][name][who][step] if there else "")

        corner = "input" if name in ("x", "dx") else "place" if "," in labels[0] else "unit"
        columns = [column("given", own)] if name == "x" else [column("NumPy", own), *others()]
        return list(map(list, zip([corner, *labels, "difference"], *columns, strict=True)))

    def code(self) -> Iterator[list[Any]]:
        changed = self.run["changed"].get(self.tag)
        for own in self.own_tag["code"]:
            lines = [html.unescape(re.sub("<[^>]*>", "", line)) for line in own["lines"]]
            lines = [" ".join(line.split()) for line in lines]
            if own["relation"]:
                lines = [f"{own['relation']}:" if lines else own["relation"], *lines]
            where = own["where"]
            if own["framework"] == "NumPy":
                where += f", line {self.number}"
                lines = ["✗ planted mistake", changed, "instead of", *lines] if changed else lines
            yield [f"{own['framework']} {where}".strip(), lines]

    def also(self) -> str:
        more = [name.replace("_step", "") for name in self.sets if name != self.name]
        return f" This line sets {', '.join(more)}{'' if self.pinned else ' too'}." if more else ""

    def titles(self) -> list[str]:
        forward, back = " and ".join(self.start), " and ".join(f"d{name}_prev" for name in self.start)
        go = "go" if len(self.start) > 1 else "goes"
        step, last = self.step(self.name), self.count if self.name in SUMS else self.t + 1
        return [
            f"Values of step {self.t + 1}",
            "The gradients, accumulated so far"
            + ("" if self.added is None else f": {steps(self.count, self.added + 1)}"),
            f"forward: {forward} {go} to the next step ⟶"
            if self.phase == "forward"
            else f"⟵ backward: {back} {go} to the previous step",
            f"Four ways: {self.name.replace('_step', '')}{'' if step is None else f' of {steps(last, step + 1)}'}",
        ]

    def seen(self) -> dict[str, Any]:
        code, tags = list(self.code()), self.data["tags"]
        names = {"x", "target", "dy", "dh_next", *(f"{state}_prev" for state in self.start), *self.run["values"]}
        meaning = self.data["quantities"][self.name]["meaning"]
        return {
            "where": f"{self.words} · {self.place + 1} of {len(self.moments)}",
            "slider": str(self.place),
            "spoken": self.words,
            "line": f"Current line ({self.tag})",
            "formula": [tag for tag, own in tags.items() if own["formula"] == self.own_tag["formula"]],
            "says": self.own_tag["says"],
            "code": code,
            "struck": code[0][1][3:] if self.tag in self.run["changed"] else [],
            "titles": self.titles(),
            "blocks": {name: self.block(name) for name in names},
            "labels": ["x", *self.start, "dh"],
            "boxes": list(self.boxes()),
            "meaning": f"{meaning[0].upper()}{meaning[1:]}.{self.also()}",
            "verdict": self.verdict(),
            "live": f"{self.words}: {self.own_tag['says']} {title(self.name)}: {self.verdict().lstrip('✓✗ ')}",
            "ways": self.ways(),
            "means": self.data["means"].get(self.world.bug, ""),
            "unpin": "Follow the current line again" if self.pinned else "",
        }
