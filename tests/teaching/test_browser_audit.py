"""The audit itself: it finds each planted fault, and none on a good page; and the index of the lessons."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from reports.teaching import pages, script, stepper
from tests.browser import AUDIT, OUT_OF_SIGHT, PHONE, opened

WORDS = "".join(f"<p>word {number}</p>" for number in range(20))
GOOD = """
<style>
  .faint { opacity: 0.9 }
  .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
</style>
<section id="part" aria-labelledby="title" aria-describedby="title"><h2 id="title">A title</h2></section>
<p class="faint" style="color: color(srgb 0.1 0.1 0.1 / 0.9); background: rgba(255, 255, 0, 0.5)">clear</p>
<p style="color: transparent; -webkit-text-fill-color: black">x<sub style="font-size: 9px">2</sub></p>
<button><i aria-hidden="true">x</i><span class="unseen">close</span></button> <a href="#title"><img alt="top"></a>
<button aria-labelledby="title"></button> <input type="button" value="go"> <input type="hidden">
<label for="text">Text</label><textarea id="text">here</textarea>
<label>Way <select><option>on</option></select></label>
<details open><summary>More</summary>more</details>
<div style="width: 4em; overflow: hidden">fits</div>
<div style="width: 100px; overflow-x: auto" tabindex="0" role="region" aria-label="wide">
<div style="width: 500px">x</div></div>
<svg><text y="90" font-size="12" transform="rotate(90)">turned</text></svg>
<div style="background: #222"><p style="color: #eee; opacity: 0.9">light</p></div>
"""
BAD = [
    ('<p style="color: #999">pale</p>', "contrast 2.85: pale"),
    ('<div style="opacity: 0.8"><p style="opacity: 0.6">faint</p></div>', "contrast 3.71: faint"),
    ('<p style="opacity: 0">gone</p>', "contrast 1.00: gone"),
    ('<p style="background: #222"><i style="color: #222">dark</i></p>', "contrast 1.00: dark"),
    ('<div style="opacity: 0.4; background: black"><p style="color: white">shade</p></div>', "contrast 2.85: shade"),
    ('<p><i aria-hidden="true" style="color: #808080">label</i></p>', "contrast 3.95: label"),
    ('<p style="-webkit-text-fill-color: #999">filled</p>', "contrast 2.85: filled"),
    ('<svg><text y="20" fill="#999">drawn</text></svg>', "contrast 2.85: drawn"),
    ('<textarea title="a" style="color: #999; background: white">b</textarea>', "contrast 2.85: TEXTAREA b"),
    ('<p style="color: oklch(0.5 0.1 20)">x</p>', "a colour that is not understood: oklch(0.5 0.1 20)"),
    ('<p style="background: lab(90 0 0)">x</p>', "a colour that is not understood: lab(90 0 0)"),
    ('<p style="color: color(display-p3 0 0 0)">x</p>', "a colour that is not understood: color(display-p3 0 0 0)"),
    ('<p style="filter: blur(2px)">x</p>', "filter is not understood: blur(2px)"),
    ('<p style="font-size: 9px">tiny</p>', "only 9.0 pixels high: tiny"),
    ('<svg width="50" viewBox="0 0 100 9"><text y="9" font-size="16">a</text></svg>', "only 8.0 pixels high: a"),
    ('<div style="width: 4em; overflow: hidden; white-space: nowrap">much too long for this</div>', "cut off: much"),
    ('<div style="height: 1em; overflow: clip"><p>one<br>two</p></div>', "cut off: two"),
    ("<details><summary>More</summary>more</details>", "closed, not looked into: <details>"),
    ("<button></button>", "no label: <button>"),
    ('<button><i aria-hidden="true">x</i></button>', "no label: <button>"),
    ('<a href="#title"><i aria-hidden="true">x</i></a>', "no label: <a"),
    ('<label><i aria-hidden="true">x</i><input></label>', "no label: <input>"),
    ("<textarea></textarea>", "no label: <textarea>"),
    ('<button aria-labelledby="none"></button>', "aria-labelledby leads nowhere: none"),
    ('<p aria-describedby="title none">x</p>', "aria-describedby leads nowhere: none"),
    ('<label for="none">x</label>', "for leads nowhere: none"),
    ('<i id="a"></i><i id="a"></i>', "id twice: a"),
    ('<svg role="img"></svg>', "a picture without text"),
    ('<div style="width: 3000px">x</div>', "pixels wider than the window"),
    ('<div style="width: 100px; overflow-x: auto"><div style="width: 500px">x</div></div>', "scrolls, but not"),
]  # fmt: skip
HIDDEN = [
    "display: none",
    "visibility: hidden",
    "opacity: 0",
    "position: absolute; left: -999px",
    "height: 1px; overflow: hidden",
]


def page_of(folder: Path, body: str, words: str = WORDS) -> Path:
    file = folder / "page.html"
    head = '<!doctype html><html lang="en"><title>x</title><link rel="icon" href="data:,">'
    file.write_text(f"{head}<body>{words}{GOOD}{body}</body></html>", encoding="utf-8")
    return file


def test_the_audit_sees_what_is_wrong_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, page_of(tmp_path, '<div id="place"></div>')) as page:
        assert page.evaluate(AUDIT) == []
        for bad, wanted in BAD:
            page.evaluate("bad => { document.getElementById('place').innerHTML = bad; }", bad)
            found = page.evaluate(AUDIT)
            assert any(wanted in text for text in found), (bad, found)
            assert len(found) <= 2, (bad, found)
        page.evaluate("document.getElementById('place').innerHTML = ''")
        assert page.evaluate(AUDIT) == []
        page.evaluate("document.querySelectorAll('p').forEach(e => e.remove())")
        assert any(text.endswith("texts were looked at") for text in page.evaluate(AUDIT))


def test_what_is_out_of_sight_is_found(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, page_of(tmp_path, '<div id="place">here</div>')) as page:
        assert page.evaluate(OUT_OF_SIGHT, ["#place", "#title", "#text"]) == []
        assert page.evaluate(OUT_OF_SIGHT, ["#place", "#none"]) == ["#none"]
        for style in HIDDEN:
            page.evaluate("style => { document.getElementById('place').style = style; }", style)
            assert page.evaluate(OUT_OF_SIGHT, ["#place"]) == ["#place"], style
        page.evaluate("document.getElementById('place').style = ''")
        assert page.evaluate(OUT_OF_SIGHT, ["#place"]) == []
        page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<p style=\"position: fixed; inset: 0\">over</p>')"
        )
        assert page.evaluate(OUT_OF_SIGHT, ["#place"]) == ["#place"]


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE}, {"color_scheme": "dark"}], ids=["desk", "phone", "dark"])
def test_the_index_is_legible_and_labelled(browser: Browser, tmp_path: Path, options: dict[str, Any]) -> None:
    file = tmp_path / "index.html"
    titles = [(name, title) for name, title, _ in stepper.PAGES]
    file.write_text(pages.index(script.lessons(), titles), encoding="utf-8")
    with opened(browser, file, **options) as page:
        assert page.evaluate(AUDIT) == []
        assert page.evaluate(OUT_OF_SIGHT, ["h1", *(f"a[href='{name}']" for name, _ in titles)]) == []
