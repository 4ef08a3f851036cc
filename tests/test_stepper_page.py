"""The stepper in a real browser: every value against the records, every control, planted mistakes, no request."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import AUDIT, PHONE, chromium, opened
from playwright.sync_api import Browser, Page

from reports.teaching import stepper

CONTROLS = ("first", "step-back", "line-back", "play", "line-on", "step-on", "last", "slider", "loss", "factor", "bug")


class Made(NamedTuple):
    """A page as a file, and the data embedded in it."""

    file: Path
    data: dict[str, Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module", params=[cell for _, _, cell in stepper.PAGES])
def made(request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Made:
    text = stepper.lesson_page(request.param)
    file = tmp_path_factory.mktemp("stepper") / "stepper.html"
    file.write_text(text, encoding="utf-8")
    embedded = text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    return Made(file, json.loads(embedded))


def run(data: dict[str, Any], loss: str = "every", factor: str = "1.0", bug: str = "") -> tuple[dict, dict]:
    """NumPy's run and the world of the others."""
    return data["runs"][f"{loss}/{factor}/{bug}"], data["worlds"][f"{loss}/{factor}"]


def shown(page: Page, quantity: str) -> dict[str, str]:
    """Index -> the full text of each number of a quantity's block."""
    script = """q => [...document.querySelectorAll(`[data-quantity='${q}'] [data-index]`)].map(
        e => [e.dataset.index, e.dataset.value])"""
    return dict(page.evaluate(script, quantity))


def flat(values: Any) -> dict[str, str]:
    """A vector or a matrix of the records under the same indices."""
    if isinstance(values[0], list):
        return {f"{r},{c}": value for r, row in enumerate(values) for c, value in enumerate(row)}
    return {str(place): value for place, value in enumerate(values)}


def four_ways(page: Page) -> dict[str, dict[str, str]]:
    """Who -> index -> full text."""
    script = """() => [...document.querySelectorAll("#four-ways [data-who][data-index]")].map(
        e => [e.dataset.who, e.dataset.index, e.dataset.value])"""
    found: dict[str, dict[str, str]] = {}
    for who, index, value in page.evaluate(script):
        found.setdefault(who, {})[index] = value
    return found


def go(page: Page, moment: int) -> None:
    page.fill("#slider", str(moment))


def at(page: Page) -> int:
    return int(page.evaluate("document.body.dataset.moment"))


def test_every_line_shows_what_the_records_hold(made: Made, browser: Browser) -> None:
    data = made.data
    own, world = run(data)
    with opened(browser, made.file) as page:
        go(page, 0)
        for number, moment in enumerate(data["moments"]):
            assert at(page) == number
            line = page.locator("#line")
            assert line.get_attribute("data-tag") == moment["tag"]
            assert line.get_attribute("data-t") == str(moment["t"])
            assert line.get_attribute("data-phase") == moment["phase"]
            early = own["early"].get(moment["tag"], {})
            for quantity in moment["sets"]:
                values = early.get(quantity, own["values"][quantity])[moment["t"]]
                assert shown(page, quantity) == flat(values), (number, quantity)
                assert page.locator(f"[data-quantity='{quantity}']").first.get_attribute("data-known") == "true"
            quantity = moment["sets"][0]
            ways = four_ways(page)
            assert ways["numpy"] == flat(early.get(quantity, own["values"][quantity])[moment["t"]])
            others = {} if quantity in early else world["values"].get(quantity, {})
            for who, values in others.items():
                assert ways[who] == flat(values[moment["t"]]), (number, quantity, who)
            wanted = (
                str(own["agree"][quantity][moment["t"]]).lower() if quantity in own["agree"] and not early else "none"
            )
            assert page.locator("#verdict").get_attribute("data-agree") == wanted
            if number + 1 < len(data["moments"]):
                page.click("#line-on")


def test_what_comes_later_is_not_known_yet(made: Made, browser: Browser) -> None:
    with opened(browser, made.file) as page:
        go(page, 0)
        assert page.locator("[data-quantity='h']").first.get_attribute("data-known") == "false"
        assert page.locator("[data-quantity='dh']").first.get_attribute("data-known") == "false"
        go(page, len(made.data["moments"]) - 1)
        assert page.locator("[data-quantity='h']").first.get_attribute("data-known") == "true"
        assert page.locator("[data-quantity='dh']").first.get_attribute("data-known") == "true"


def test_a_planted_mistake_shows_where_the_numbers_part(made: Made, browser: Browser) -> None:
    data = made.data
    for bug in data["bugs"]:
        own, _ = run(data, bug=bug)
        wrong = {name for name, agree in own["agree"].items() if not all(agree)}
        first = next(
            number
            for number, moment in enumerate(data["moments"])
            if any(name in wrong and not own["agree"][name][moment["t"]] for name in moment["sets"])
        )
        with opened(browser, made.file) as page:
            page.select_option("#factor", "2.0")
            page.select_option("#bug", bug)
            assert page.input_value("#factor") == "1.0"
            listed = page.locator("#parted [data-parted]").evaluate_all("all => all.map(e => e.dataset.parted)")
            assert set(listed) == wrong
            page.click("#first-parted")
            assert at(page) == first
            assert page.locator("#verdict").get_attribute("data-agree") == "false"
            changed = next(n for n, moment in enumerate(data["moments"]) if moment["tag"] in own["changed"])
            go(page, changed)
            assert own["changed"][data["moments"][changed]["tag"]] in page.inner_text("#line")
            assert "planted mistake" in page.inner_text("#line").lower()
            page.select_option("#bug", "")
            go(page, first)
            assert page.locator("#verdict").get_attribute("data-agree") == "true"


def test_another_loss_and_factor_show_their_own_numbers(made: Made, browser: Browser) -> None:
    data, last = made.data, len(made.data["moments"]) - 1
    quantity = data["moments"][last]["sets"][0]
    t = data["moments"][last]["t"]
    seen = set()
    with opened(browser, made.file) as page:
        go(page, len(made.data["moments"]) - 1)
        for loss in data["losses"]:
            for factor in map(str, data["factors"]):
                page.select_option("#loss", loss)
                page.select_option("#factor", factor)
                found = shown(page, quantity)
                assert found == flat(run(data, loss, factor)[0]["values"][quantity][t])
                seen.add(tuple(found.values()))
    assert len(seen) == 6


def test_buttons_and_keys_walk(made: Made, browser: Browser) -> None:
    moments = made.data["moments"]
    per_step = sum(moment["t"] == 0 and moment["phase"] == "forward" for moment in moments)
    with opened(browser, made.file) as page:
        go(page, 0)
        for control, key, wanted in (
            ("#line-on", "ArrowRight", 1),
            ("#step-on", "PageDown", per_step + 1),
            ("#step-back", "PageUp", 1),
            ("#line-back", "ArrowLeft", 0),
            ("#last", "End", len(moments) - 1),
            ("#first", "Home", 0),
        ):
            before = at(page)
            page.click(control)
            by_button = at(page)
            go(page, before)
            page.locator("h1").click()
            page.keyboard.press(key)
            assert by_button == at(page)
            assert abs(by_button - wanted) <= 1, control
        page.click("#play")
        page.wait_for_function("Number(document.body.dataset.moment) >= 1", timeout=5000)
        page.click("#play")


def test_a_link_leads_to_its_moment(made: Made, browser: Browser) -> None:
    bug = next(iter(made.data["bugs"]))
    with opened(browser, made.file) as page:
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
        assert page.evaluate("ids => ids.filter(id => !document.getElementById(id))", list(CONTROLS)) == []
        for bug, moment in (("", 0), ("", len(made.data["moments"]) - 1), (next(iter(made.data["bugs"])), 30)):
            page.select_option("#bug", bug)
            go(page, moment)
            assert page.evaluate(AUDIT) == []
        assert page.locator("[aria-live]").count() >= 1


def test_it_is_small_and_asks_for_nothing(made: Made) -> None:
    text = made.file.read_text(encoding="utf-8")
    assert len(text.encode()) < 1_000_000
    assert "http" not in text.replace("http://www.w3.org", "")


def test_the_audit_sees_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    words = "".join(f"<p>word {n}</p>" for n in range(20))
    bad = tmp_path / "bad.html"
    bad.write_text(
        f"""<!doctype html><html lang="en"><title>x</title><link rel="icon" href="data:,"><body>{words}
        <p style="color: #999">pale</p><button></button><i id="a"></i><i id="a"></i><svg role="img"></svg>
        <div style="width: 100px; overflow-x: auto"><div style="width: 500px">x</div></div>
        <div style="width: 3000px">x</div></body></html>"""
    )
    with opened(browser, bad) as page:
        found = "\n".join(page.evaluate(AUDIT))
    for part in (
        "contrast 2.8",
        "no label: <button>",
        "id twice: a",
        "picture without",
        "wider than",
        "not by keyboard",
    ):
        assert part in found
