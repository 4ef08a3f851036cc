"""The stepper in a real browser: controls, keys, links, planted mistakes, and that it makes no request."""

import re
from collections.abc import Sequence
from itertools import groupby, product
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from reports.teaching import stepper
from tests.browser import AUDIT, OUT_OF_SIGHT, PHONE, opened
from tests.teaching.stepper_data import Made, World, built, distinct, steps, title

CONTROLS = ("first", "step-back", "line-back", "play", "line-on", "step-on", "last", "slider", "loss", "factor", "bug")
PARTS = ("where", "strip", "line", "formula", "says", "code", "values", "four-title", "verdict", "four-ways", "way")

SET_AND_CLICK = """([place, id]) => {
  const slider = document.getElementById("slider");
  slider.value = place;
  slider.dispatchEvent(new Event("input"));
  document.activeElement.blur();
  document.getElementById(id)?.click();
  return slider.value;
}"""
# Clicks every button of the list, and returns what the page then shows.
CLICK_PARTED = """() => [...document.querySelectorAll("#parted button")].map((button) => {
  button.click();
  return ["slider", "four-title code", "verdict"].map((id) => document.querySelector(`#${id}`))
    .map((e) => e.value ?? e.innerText);
})"""


@pytest.fixture(scope="module", params=[cell for _, _, cell in stepper.PAGES])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return distinct(request.param, tmp_path_factory.mktemp("stepper"))


@pytest.fixture(scope="module", params=[cell for _, _, cell in stepper.PAGES[:2]])
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """For what is the same with every cell: one with a single state, and one with two."""
    return distinct(request.param, tmp_path_factory.mktemp("stepper"))


def go(page: Page, moment: int) -> None:
    page.fill("#slider", str(moment))


def at(page: Page) -> int:
    """The moment that the page shows, according to its words."""
    return int(page.inner_text("#where").split()[-3]) - 1


def first_apart(made: Made, world: World) -> dict[str, int]:
    """Quantity -> the first line after which its numbers diverge from the others'."""
    found: dict[str, int] = {}
    run, agree = made.data["runs"]["/".join(world)], made.agree["/".join(world)]
    for place, moment in enumerate(made.data["moments"]):
        for name in moment["sets"]:
            final = name in agree and name not in run["early"].get(moment["tag"], {})
            if final and not agree[name][moment["t"]]:
                found.setdefault(name, place)
    return found


def spans(marks: Sequence[bool]) -> str:
    """The steps that are marked, as in "steps 1 to 3, step 5"."""
    groups = groupby(enumerate(marks, 1), key=lambda pair: pair[1])
    return ", ".join(steps(run[0][0], run[-1][0]) for mark, group in groups if mark and (run := list(group)))


def test_a_planted_mistake_shows_where_the_numbers_diverge(made: Made, browser: Browser) -> None:
    with opened(browser, made.file) as page:
        assert not page.is_visible("#mistake")
        page.select_option("#factor", "2.0")
        for loss, bug in product(["every", "last"] if made.data["cell"] == "RNN" else ["every"], made.data["bugs"]):
            world = World(loss, bug=bug)
            page.select_option("#loss", loss)
            page.select_option("#bug", bug)
            assert page.input_value("#factor") == "1.0"
            assert page.is_visible("#mistake")
            first, agree = first_apart(made, world), made.agree["/".join(world)]
            listed = [f"{title(name)} differs at {spans([not same for same in agree[name]])}" for name in first]
            assert page.locator("#parted button").all_inner_texts() == listed
            if loss == "every":
                shown = [[str(place), name.replace("_step", ""), "✗ NumPy differs"] for name, place in first.items()]
                assert page.evaluate(CLICK_PARTED) == shown
            page.click("#first-parted")
            assert (at(page), page.inner_text("#verdict")) == (min(first.values()), "✗ NumPy differs")
            assert not page.is_visible("#unpin")
        page.select_option("#bug", "")
        assert not page.is_visible("#mistake")
        assert page.inner_text("#verdict") == "✓ agree"


def along(made: Made, place: int, by: int) -> int:
    """The place of the same line one step on (1) or back (-1); where the direction changes, the nearest line."""
    places = [
        [number for number, _ in group]
        for _, group in groupby(enumerate(made.data["moments"]), key=lambda pair: (pair[1]["t"], pair[1]["phase"]))
    ]
    (own,) = (number for number, group in enumerate(places) if place in group)
    if not 0 <= own + by < len(places):
        return 0 if by < 0 else len(made.data["moments"]) - 1
    if len(places[own]) != len(places[own + by]):
        return places[own + by][0 if by > 0 else -1]
    return places[own + by][places[own].index(place)]


def test_buttons_and_keys_walk(moved: Made, browser: Browser) -> None:
    end = len(moved.data["moments"]) - 1
    turn = next(place for place, moment in enumerate(moved.data["moments"]) if moment["phase"] == "backward")
    with opened(browser, moved.file) as page:
        for place in (0, turn - 2, turn + 2, end) if moved.data["cell"] == "RNN" else (turn - 2, turn + 2):
            for control, keys, wanted in (
                ("line-on", ["ArrowRight"], min(place + 1, end)),
                ("line-back", ["ArrowLeft"], max(place - 1, 0)),
                ("step-on", ["PageDown", "Shift+ArrowRight"], along(moved, place, 1)),
                ("step-back", ["PageUp", "Shift+ArrowLeft"], along(moved, place, -1)),
                ("last", ["End"], end),
                ("first", ["Home"], 0),
            ):
                assert page.evaluate(SET_AND_CLICK, [place, control]) == str(wanted), (place, control)
                for key in keys:
                    page.evaluate(SET_AND_CLICK, [place, ""])
                    page.keyboard.press(key)
                    assert at(page) == wanted, (place, key)
        go(page, 0)
        for control, wanted in (("#line-on", 1), ("#last", end), ("#line-back", end - 1), ("#first", 0)):
            page.click(control)
            assert at(page) == wanted


def test_it_plays(moved: Made, browser: Browser) -> None:
    """With the button and with Space. The live region is silent meanwhile: it would never stop speaking."""
    end = len(moved.data["moments"]) - 1
    with opened(browser, moved.file) as page:
        page.clock.install()
        for press in (lambda: page.click("#play"), lambda: page.keyboard.press("Space")):
            go(page, end - 4)
            page.evaluate("document.activeElement.blur()")
            said = page.text_content("#live")
            press()
            assert page.inner_text("#play") == "pause"
            page.clock.run_for(2100)
            assert (at(page), page.text_content("#live")) == (end - 2, said)
            press()
            page.clock.run_for(3000)
            assert (at(page), page.inner_text("#play")) == (end - 2, "play")
            assert page.text_content("#live") != said
            press()
            page.clock.run_for(9000)
            assert (at(page), page.inner_text("#play")) == (end, "play")
            press()
            assert (at(page), page.inner_text("#play")) == (0, "pause")
            press()


def test_a_box_leads_to_its_step(moved: Made, browser: Browser) -> None:
    """It leads to the same line, in the same direction."""
    moments, count = moved.data["moments"], moved.data["sizes"]["steps"]
    with opened(browser, moved.file) as page:
        for place in (1, len(moments) - 2):
            go(page, place)
            for step in (*range(count), 0):
                page.locator("#strip button").nth(step).click()
                own, found = moments[place], moments[at(page)]
                assert (found["t"], found["tag"], found["phase"]) == (step, own["tag"], own["phase"])


def test_a_link_leads_to_its_moment(moved: Made, browser: Browser) -> None:
    bug = next(iter(moved.data["bugs"]))
    with opened(browser, moved.file) as page:
        page.select_option("#bug", bug)
        page.select_option("#loss", "last")
        go(page, 17)
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        assert (at(page), page.input_value("#bug"), page.input_value("#loss")) == (17, bug, "last")
        page.goto("about:blank")


@pytest.mark.parametrize(
    "options",
    [{}, {"viewport": PHONE, "is_mobile": True, "has_touch": True}, {"color_scheme": "dark"}],
    ids=["desk", "phone", "dark"],
)
def test_it_is_legible_and_labelled(made: Made, browser: Browser, options: dict[str, Any]) -> None:
    with opened(browser, made.file, **options) as page:
        page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        parts = [f"#{name}" for name in (*CONTROLS, *PARTS)]
        for bug, moment in (("", 0), ("", len(made.data["moments"]) - 1), (next(iter(made.data["bugs"])), 30)):
            page.select_option("#bug", bug)
            go(page, moment)
            assert page.evaluate(AUDIT) == []
            seen = [*parts, "#mistake", "#parted"] if bug else parts
            assert page.evaluate(OUT_OF_SIGHT, seen) == []
        assert page.locator("[aria-live]").count() >= 1


@pytest.mark.parametrize("cell", [cell for _, _, cell in stepper.PAGES])
def test_it_is_small_and_asks_for_nothing(cell: str) -> None:
    text, _ = built(cell)
    assert len(text.encode()) < 1_000_000
    assert not re.search("https?:", text.replace("http://www.w3.org", ""))
