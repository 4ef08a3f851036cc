"""What a person sees on the stepper at every moment is what the data hold."""

from collections.abc import Sequence

import pytest
from playwright.sync_api import Browser, Page

from reports.teaching import stepper
from tests.browser import opened
from tests.teaching.moment import Moment
from tests.teaching.stepper_data import EVERY, Made, World, distinct, flat

# What is seen at every place (null: at the current one); `heard` is what a screen reader says instead of a symbol.
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


def look(page: Page, made: Made, places: Sequence[int | None], world: World = EVERY, pinned: str = "") -> None:
    """Checks that everything seen at these places (None: where the page is) is what the data hold."""
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


def test_every_moment_shows_what_the_data_hold(made: Made, browser: Browser) -> None:
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
    """Names are clicked at one moment; one stays pinned while the line moves, and is released in both ways."""
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
