"""The pages in a browser: their policy lets nothing in that the project did not write, and keeps nothing of it out."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from common.model.spec import ModelSpec
from common.tracing.examples import example
from reports.page.policy import policy
from reports.page.render import page as report_page
from reports.sections import build
from reports.teaching import html, pages, script, show, stepper, walk
from tests.browser import INJECTED, PHONE, POLICY, opened, without_policy
from tests.study_records import DRAWN, STUDY
from tests.task_records import STUDY as TASKS
from tests.teaching.test_lessons import GOOD, small

# Every way in that a forgotten escape could open.
INTRUDER = """<script>window.hit = 1</script><script type="module">window.hit = 2</script>
<img src="data:," onerror="window.hit = 3"><p id="intruder" onmouseover="window.hit = 4" style="position: fixed">x</p>
<a id="link" href="javascript:window.hit=5">x</a><style>#intruder { display: none }</style><base href="https://a.b/c">
<svg><style>#intruder { color: red }</style></svg>"""
ARRIVED = """async () => {
  const way = document.getElementById("intruder"), style = getComputedStyle(way);
  way.dispatchEvent(new MouseEvent("mouseover"));
  document.getElementById("link").click();
  await new Promise((done) => setTimeout(done, 50));
  return [window.hit ?? null, style.position, style.display, document.baseURI.startsWith("https")];
}"""
HOSTILE = "</script><script>window.hit=1</script></style></title>\"><img src=x onerror=window.hit=1>' onclick='a<!-- "
KINDS = ("report", "lesson", "index", "stepper")


@cache
def written(kind: str, folder: Path) -> str:
    """A page of a kind."""
    if kind == "report":
        return report_page(build([*STUDY, *DRAWN, *TASKS[1:]]))
    if kind == "stepper":
        return stepper.lesson_page("LSTMCell")
    if kind == "index":
        return pages.index(script.lessons(), [(name, title) for name, title, _ in stepper.PAGES])
    lesson = small(folder, GOOD)
    return pages.page(script.run(lesson), lesson, [lesson])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_names_what_may_run(kind: str, folder: Path) -> None:
    text = written(kind, folder)
    (tag,) = POLICY.findall(text)
    assert text.index(tag) < text.index("<title>")
    rules = dict(rule.split(" ", 1) for rule in re.findall(r'content="([^"]*)"', tag)[0].split("; "))
    scripts, styles = (rules.pop(f"{name}-src").split() for name in ("script", "style"))
    others = {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert rules == others
    assert all(re.fullmatch(r"'sha256-[\w+/]{43}='", source) for source in styles)
    assert len(styles) == text.count("<style>") == (2 if kind == "stepper" else 1)
    if kind == "stepper":
        assert re.fullmatch(r"'sha256-[\w+/]{43}='", *scripts)
    else:
        assert scripts == ["'none'"]
        assert "<script" not in text
    assert not re.search(r"\sstyle=|\son\w+=", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("guarded", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_policy_by_itself_stops_what_was_let_in(kind: str, guarded: bool, browser: Browser, folder: Path) -> None:
    """And without it all of that happens."""
    text = written(kind, folder).replace("</body>", f"{INTRUDER}</body>")
    file = folder / f"{kind}.html"
    file.write_text(text if guarded else without_policy(text), encoding="utf-8")
    with browser.new_page() as page:
        page.route("https://a.b/**", lambda route: route.abort())
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(file.as_uri())
        hit, position, display, moved = page.evaluate(ARRIVED)
        assert (hit is None, position == "fixed", display == "none", moved) == (guarded, *[not guarded] * 3)
        assert any("Content Security Policy" in text for text in said) is guarded


@pytest.mark.parametrize(
    "options",
    [{}, {"viewport": PHONE}, {"color_scheme": "dark"}],
    ids=["desk", "phone", "dark"],
)
def test_the_report_looks_the_same_under_its_policy(browser: Browser, folder: Path, options: dict[str, Any]) -> None:
    file = folder / "report.html"
    file.write_text(written("report", folder), encoding="utf-8")
    with opened(browser, file, **options) as page:
        assert page.evaluate(INJECTED) == ["nothing ran"]
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == ("rgb(20, 23, 27)" if "color_scheme" in options else "rgb(255, 255, 255)")
        page.emulate_media(media="print")
        assert not page.is_visible("nav")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_every_colour_of_a_legend_is_that_of_its_picture(browser: Browser, folder: Path) -> None:
    """A class of the style sheet names it; a class that nothing defines would leave no colour."""
    file = folder / "report.html"
    file.write_text(written("report", folder), encoding="utf-8")
    with opened(browser, file) as page:
        for part, style in (("mark", "color"), ("swatch", "backgroundColor")):
            found = page.eval_on_selector_all(
                f".legend .{part}",
                "(all, style) => all.map((e) => [e.className.split('in--')[1], getComputedStyle(e)[style]])",
                style,
            )
            assert len({name for name, _ in found}) > 3
            own = "(names) => names.map((name) => getComputedStyle(document.body).getPropertyValue(`--${name}`))"
            wanted = page.evaluate(own, [name for name, _ in found])
            colours = [tuple(bytes.fromhex(text.strip().removeprefix("#"))) for text in wanted]
            assert [colour for _, colour in found] == [f"rgb({', '.join(map(str, c))})" for c in colours]


def shown(weights: str = "") -> str:
    spec = ModelSpec(cell="RNNCell", input_size=2, hidden_size=3)
    return stepper.page(example(spec, steps=2, seed=0), (0, 1, 2), (0, 1), weights)


def test_the_stepper_takes_names_and_data_for_text(
    browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a file of weights, and whatever a string of the embedded data may hold."""
    real = walk.walk

    def hostile(*args: Any) -> dict[str, Any]:
        data = real(*args)
        data["means"] = dict.fromkeys(data["bugs"], HOSTILE)
        data["bugs"] = dict.fromkeys(data["bugs"], HOSTILE)
        for tag in data["tags"].values():
            tag["says"] = HOSTILE
        return data

    monkeypatch.setattr(stepper.walk, "walk", hostile)
    file = folder / "hostile.html"
    file.write_text(without_policy(shown(f"{HOSTILE}\x1b[2J\udc80.pt")), encoding="utf-8")
    with opened(browser, file) as page:
        assert f"The weights are those of {HOSTILE}\\x1b[2J\\udc80.pt." in page.inner_text("header p")
        page.select_option("#bug", index=1)
        assert page.inner_text("#means") == page.inner_text("#says") == HOSTILE.rstrip()
        page.click("#line-on")
        assert [text for text in page.evaluate(INJECTED) if not text.startswith("<script ")] == ["nothing ran"]
        assert page.locator("script").count() == 2


ITEMS = {
    "text": lambda: show.text(HOSTILE),
    "mathematics": lambda: show.text(f"$\\text{{{HOSTILE}}}$"),
    "table": lambda: show.table(HOSTILE, (HOSTILE, "b"), [(HOSTILE, "1")], note=HOSTILE),
    "output": lambda: show.output(HOSTILE, HOSTILE),
    "plot": lambda: show.plot(HOSTILE, [0, 1], {HOSTILE: np.arange(2.0)}, alt=HOSTILE, x_label=HOSTILE),
    "snippet": lambda: show._emit(show.Snippet(HOSTILE, HOSTILE, HOSTILE)),
}


@pytest.mark.parametrize("name", ITEMS)
def test_what_a_lesson_or_a_notebook_shows_is_text(name: str, browser: Browser) -> None:
    with show.collecting() as items:
        ITEMS[name]()
    with browser.new_page() as page:
        page.set_content(f"<body>{html.fragment(items[0])}</body>")
        found: Page = page
        assert [text for text in found.evaluate(INJECTED) if not text.startswith("<style>")] == ["nothing ran"]
        assert "<img src=x onerror=window.hit=1>" in page.evaluate("document.body.textContent").replace("\xa0", " ")


# openssl dgst -sha256 -binary | base64, of: a {}
STYLE = "mkSHzL7faOU7/U/v8Umg+058R69+vN2A2xmE3Fz1q98="


def test_the_policy_is_that_of_the_exact_text() -> None:
    tag = policy(["a {}"], ["b()"])
    assert f"style-src 'sha256-{STYLE}'" in tag
    assert policy(["a {}"]) != policy(["a {} "])
    assert "script-src 'none'" in policy(["a {}"])
