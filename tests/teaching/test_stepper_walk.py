"""What a person sees on the stepper, moment by moment, against the records; numbers are written here once more."""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from reports.teaching import stepper
from tests.browser import opened
from tests.teaching.test_stepper_page import EVERY, FINITE, SUMS, Made, World, distinct, flat, steps, title

# At every place (null: at the present one) what is seen; `heard` is what a screen reader says instead of a sign.
READ = r"""
(places) => {
  const tags = JSON.parse(document.getElementById("data").textContent).tags;
  const one = (selector) => document.querySelector(selector);
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const text = (root, without) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode, parent = node.parentElement;
      if (!parent.closest(without) && parent.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }))
        found.push(node.textContent);
    }
    return found.join("").replace(/\s+/g, " ").trim();
  };
  const seen = (root) => text(root, ".hidden, math annotation"), heard = (root) => text(root, "[aria-hidden=true]");
  const paint = (e) => getComputedStyle(e).backgroundColor.match(/[\d.]+/g).map(Number);
  const legend = all(document, ".swatch").map((e) =>
    [paint(e).slice(0, 3).join(), { positive: "+", negative: "−" }[e.nextSibling.textContent.trim().split(/\W/)[0]]]);
  const hue = (e) => Object.fromEntries(legend)[paint(e).slice(0, 3).join()] ?? "";
  const formula = () => {
    const made = document.createElement("div"), [math, more] = one("#formula").children;
    const same = (tag) => { made.innerHTML = tags[tag].formula; return made.firstElementChild.isEqualNode(math); };
    return math && !more && math.getBoundingClientRect().width > 20 ? Object.keys(tags).filter(same) : [];
  };
  const block = (e) => ({
    cells: all(e, "tbody td, tr > td[data-index]").map((cell) => [seen(cell), heard(cell), hue(cell)]),
    note: seen(e.querySelector(".set")), mark: seen(e.querySelector(".mark")), said: heard(e.querySelector(".mark")),
    pressed: e.querySelector("button")?.getAttribute("aria-pressed") ?? "",
  });
  const box = (e) => ({
    title: seen(e.querySelector("b")), now: seen(e.querySelector(".now") ?? document.createElement("b")),
    small: seen(e.querySelector("small") ?? document.createElement("b")), label: e.ariaLabel ?? "",
    current: e.getAttribute("aria-current") ?? "",
    squares: all(e, ".squares").map((row) => all(row, "i").map((i) => seen(i) + hue(i))),
  });
  const read = () => ({
    where: seen(one("#where")), slider: one("#slider").value, spoken: one("#slider").getAttribute("aria-valuetext"),
    line: seen(one("#line-title")), formula: formula(), says: seen(one("#says")),
    code: all(one("#code"), "dt").map((dt) =>
      [seen(dt), all(dt.nextElementSibling, "code, p").map(seen)]),
    struck: all(one("#code"), "del code").map(seen),
    titles: ["#values-title", "#sums", "#way", "#four-title"].map((id) => seen(one(id))),
    blocks: Object.fromEntries(all(document, "#values [data-quantity]").map((e) => [e.dataset.quantity, block(e)])),
    labels: all(one("#strip .labels"), "span").map(seen), boxes: all(one("#strip"), ".box").map(box),
    meaning: seen(one("#four-meaning")), verdict: seen(one("#verdict")), live: heard(one("#live")),
    ways: all(one("#four-ways"), "tr").map((row) => [...row.children].map(seen)),
    means: seen(one("#means")), unpin: seen(one("#unpin")),
    strengths: Object.fromEntries(all(document, "#values [data-quantity]").map((e) =>
      [e.dataset.quantity, all(e, "[data-index]").map((cell) => paint(cell)[3] ?? 1)])),
  });
  return places.map((place) => {
    if (place !== null) {
      one("#slider").value = place;
      one("#slider").dispatchEvent(new Event("input"));
    }
    return read();
  });
}
"""


@pytest.fixture(scope="module", params=[cell for _, _, cell in stepper.PAGES])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return distinct(request.param, tmp_path_factory.mktemp("walk"))


def written(text: str, digits: int) -> str:
    """A number as the page is to show it."""
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
    """The word under a name, where it is the same at every moment."""
    own = {"x": "input", "dc_next": "from later", "dh_prev": "sent back", "dc_prev": "sent back"}
    if name in own or "weight" in name or "bias" in name:
        return own.get(name, "")
    if name in quantities and name[0] != "d" and name[:2] != "a_":
        return quantities[name]["meaning"]
    return f"∂L/∂{name[1:]}" if name[0] == "d" else f"into {name[2:]}"


class Moment:
    """What is to be seen at a moment, in the words and the order of the page."""

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
        # Quantity and step -> the numbers last set, and whether no later line sets them again.
        given = self.others["values"]["x"]["given"]
        self.known: dict[tuple[str, int], tuple[Any, bool]] = {("x", t): (x, False) for t, x in enumerate(given)}
        for done in self.moments[: place + 1]:
            early = self.run["early"].get(done["tag"], {})
            for name in done["sets"]:
                values = early.get(name, self.run["values"][name])
                self.known[name, done["t"]] = values[done["t"]], name not in early
        self.added = min((t for name, t in self.known if name in SUMS), default=None)

    def step(self, name: str) -> Any:
        """The step whose value is shown: of a sum the one last added."""
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
            missing, note = "none", "none: last"
        elif name == "dh_next":
            own, note = self.run["values"]["dh_prev"][t + 1] if self.phase == "backward" else None, f"from step {t + 2}"
        differs = self.differs("dh_prev", t + 1) if name == "dh_next" else self.differs(name, self.step(name))
        numbers = [[written(text, 4)] * 2 + [hue(text)] for text in flat(own)] if own else []
        return {
            "cells": numbers or [["–", missing, ""]] * len(self.rows(name)),
            "note": "set now" if name in self.sets else note,
            "mark": "✗" * differs,
            "said": "differs" * differs,
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
            yield {
                "title": str(step + 1),
                "now": "now" * here,
                "small": "counts in L" * counts,
                "label": f"Step {step + 1}{', now' * here}{', counts in the loss' * counts}; known: {has}",
                "current": "step" if here else "false",
                "squares": [squares(self.now(name, step)[0]) for name in names],
            }

    def verdict(self) -> str:
        step, (own, final) = self.step(self.name), self.now(self.name)
        if self.name == "x":
            return "Given: nobody computes it."
        if own is None:
            return "Not yet computed."
        if not final:
            rest = (m["tag"] for m in self.moments[self.place + 1 :] if m["t"] == step and self.name in m["sets"])
            return f"Compared when line ({next(rest)}) has set it again."
        if self.name not in self.agree:
            return "Only NumPy has a line for it: nothing to compare."
        return "✓ agree" if self.agree[self.name][step] else "✗ NumPy differs"

    def ways(self) -> list[list[str]]:
        """The table of four-ways, its heads and its row of gaps among the rows."""
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
        return list(map(list, zip([corner, *labels, "apart by"], *columns, strict=True)))

    def code(self) -> Iterator[list[Any]]:
        changed = self.run["changed"].get(self.tag)
        for own in self.own_tag["code"]:
            lines = [html.unescape(re.sub("<[^>]*>", "", line)) for line in own["lines"]]
            lines = [" ".join(line.split()) for line in lines]
            lines = ([own["relation"] + ":" * bool(lines)] if own["relation"] else []) + lines
            where = own["where"]
            if own["framework"] == "NumPy":
                where += f", line {self.number}"
                lines = ["✗ planted mistake", changed, "in the place of", *lines] if changed else lines
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
            "The gradients, added up so far" + ("" if self.added is None else f": {steps(self.count, self.added + 1)}"),
            f"forward: {forward} {go} to the next step ⟶"
            if self.phase == "forward"
            else f"⟵ backward: {back} {go} to the step before",
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
            "line": f"The line ({self.tag})",
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
            "unpin": "Follow the line again" if self.pinned else "",
        }


def look(page: Page, made: Made, places: Sequence[int | None], world: World = EVERY, pinned: str = "") -> None:
    """All that is seen at these places (None: where the page is) is what the records hold."""
    for found in page.evaluate(READ, list(places)):
        place, strengths = int(found["slider"]), found.pop("strengths")
        moment = Moment(made, place, world, pinned)
        for key, wanted in moment.seen().items():
            assert found.pop(key) == wanted, (place, world, key)
        assert found == {}
        for name in moment.run["values"]:
            sizes = [abs(float(text)) ** 0.5 for text in flat(moment.now(name)[0] or [])]
            colours = strengths[name][: len(sizes)]
            if sizes and max(colours) > 0.1:
                wanted = [size / max(sizes) * max(colours) for size in sizes]
                assert colours == pytest.approx(wanted, abs=0.02), (place, world, name)


def test_every_moment_shows_what_the_records_hold(made: Made, browser: Browser) -> None:
    end = len(made.data["moments"]) - 1
    with opened(browser, made.file) as page:
        look(page, made, range(end + 1) if made.data["cell"] == "RNN" else [*range(0, end, 7), end])


def test_dy_is_what_the_loss_says(made: Made) -> None:
    for key, world in made.data["worlds"].items():
        given = world["given"]
        for h, target, dy in zip(
            made.data["runs"][f"{key}/"]["values"]["h"], given["target"], given["dy"], strict=True
        ):
            wanted = [float(a) - float(b) for a, b in zip(h, target, strict=True)] if target else [0] * len(h)
            assert list(map(float, dy)) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_another_loss_and_factor_show_their_own_numbers(made: Made, browser: Browser) -> None:
    end = len(made.data["moments"]) - 1
    with opened(browser, made.file) as page:
        for loss in made.data["losses"]:
            for factor in map(str, made.data["factors"]):
                page.select_option("#loss", loss)
                page.select_option("#factor", factor)
                look(page, made, [end // 4, end], World(loss, factor))


def test_a_planted_mistake_marks_what_differs(made: Made, browser: Browser) -> None:
    moments = made.data["moments"]
    with opened(browser, made.file) as page:
        for bug in made.data["bugs"]:
            page.select_option("#bug", bug)
            world = World(bug=bug)
            (tag,) = made.data["runs"]["/".join(world)]["changed"]
            changed = [place for place, moment in enumerate(moments) if moment["tag"] == tag]
            look(page, made, [changed[0], changed[-1], changed[-1] - 6, len(moments) - 1], world)


def test_a_name_pins_its_quantity(made: Made, browser: Browser) -> None:
    """Names are clicked at one moment; one is kept while the line moves, and let go in either way."""
    middle, names = len(made.data["moments"]) * 3 // 4, ["x", *made.data["runs"]["every/1.0/"]["values"]]
    with opened(browser, made.file) as page:
        look(page, made, [middle])
        for name in names[:: 1 if made.data["cell"] == "RNN" else 4]:
            page.click(f"[data-quantity={name}] button")
            look(page, made, [None], pinned=name)
        page.click("[data-quantity=dweight_hh] button")
        look(page, made, [0, middle], pinned="dweight_hh")
        page.click("#unpin")
        assert page.evaluate("document.activeElement.id") == "line"
        look(page, made, [None])
        for pinned in ("dx", ""):
            page.click("[data-quantity=dx] button")
            look(page, made, [None], pinned=pinned)
