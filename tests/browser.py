"""What a browser reports about a page: contrast, labels, overflow, and whether the page requested anything."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 900}
# Reports every text that is pale, tiny or cut off, every control without a name, every id that is used twice or that a
# reference does not find, and a page that is wider than its window. It also reports what it cannot judge: closed
# details, unknown colours, filters.
AUDIT = r"""
() => {
  const found = new Set(), all = (selector) => [...document.querySelectorAll(selector)];
  const report = (what, e) => found.add(`${what}: ${typeof e === "string" ? e : e.outerHTML.slice(0, 80)}`);
  const parse = (text) => {
    const [, syntax, body] = text.match(/^(rgba?\(|color\(srgb )([-\d.e+,/% ]+)\)$/) ?? [];
    const n = body && !body.includes("%") ? body.match(/[-+]?[\d.]+(e[-+]?\d+)?/g).map(Number) : [];
    if (n.length < 3) return report("a colour that is not understood", text), null;
    const times = syntax.startsWith("rgb") ? 1 : 255;
    return [...n.slice(0, 3).map((v) => Math.min(Math.max(v * times, 0), 255)), n[3] ?? 1];
  };
  const over = (top, below) => {
    const alpha = top[3] + below[3] * (1 - top[3]);
    const mixed = [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * below[3] * (1 - top[3])) / (alpha || 1));
    return [...mixed, alpha];
  };
  // The colour of a text and the colour behind it, after the backgrounds and opacities of all ancestors.
  const colours = (element, own) => {
    let [ink, ground] = [parse(own), [0, 0, 0, 0]];
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e), below = parse(style.backgroundColor);
      if (!ink || !below) return null;
      for (const [name, usual] of [["backgroundImage", "none"], ["filter", "none"], ["mixBlendMode", "normal"]])
        if (style[name] !== usual) report(`${name} is not understood`, style[name]);
      [ink, ground] = [over(ink, below), over(ground, below)].map((c) => [...c.slice(0, 3), c[3] * style.opacity]);
    }
    return [over(ink, [255, 255, 255, 1]), over(ground, [255, 255, 255, 1])];
  };
  const light = (c) => {
    const bent = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const part = c.slice(0, 3).map((v) => bent(v / 255));
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const judge = (element, text) => {
    const style = getComputedStyle(element), drawn = element.closest("svg");
    const own = drawn ? style.fill : style.webkitTextFillColor;
    const drawing = drawn && element.getScreenCTM?.();
    const size = parseFloat(style.fontSize) * (drawing ? Math.hypot(drawing.a, drawing.b) : 1);
    if (size < 10 && !element.closest("math, sub, sup")) report(`only ${size.toFixed(1)} pixels high`, text);
    if (drawn && (own === "none" || own.startsWith("url"))) return;
    const pair = colours(element, own)?.map(light).sort((a, b) => b - a);
    if (!pair) return;
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    const mark = element.closest("[aria-hidden=true]") && !/\w\w/.test(text);
    const large = mark || size >= 24 || (size >= 18.6 && parseInt(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) report(`contrast ${ratio.toFixed(2)}`, text);
  };
  const there = (e) => e.checkVisibility({ checkVisibilityCSS: true });
  // Only for screen readers, or outside the window until it has the focus.
  const unseen = (e) => {
    const box = e.getBoundingClientRect();
    return box.width < 2 || box.right < 0;
  };
  // The box of a letter is taller than the letter: cutting off less than half of it loses nothing.
  const clips = (e) => {
    const { overflowX, overflowY, fontSize } = getComputedStyle(e), cut = ["hidden", "clip"];
    return (cut.includes(overflowX) && e.clientWidth && e.scrollWidth > e.clientWidth + 1)
      || (cut.includes(overflowY) && e.clientHeight && e.scrollHeight > e.clientHeight + parseFloat(fontSize) / 2);
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim().slice(0, 40);
    if (!text || element.closest("script, style, noscript, option, textarea")) continue;
    if (!there(element) || unseen(element)) continue;
    texts += 1;
    judge(element, text);
    for (let e = element; e; e = e.parentElement) if (clips(e) && !unseen(e)) report("cut off", text);
  }
  for (const e of all("select, textarea, input:not([type=hidden], [type=range], [type=checkbox], [type=radio])"))
    if (there(e)) judge(e, `${e.tagName} ${e.value}`);
  if (texts < 20) found.add(`only ${texts} texts were looked at`);
  for (const e of all("details:not([open])")) report("closed, not looked into", e);
  // What a screen reader says for an element.
  const spoken = (root) => {
    const kept = (node) => (node.nodeType === 1 && (node.ariaHidden === "true" || !there(node))
      ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    const inner = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, kept), parts = [];
    while (inner.nextNode()) {
      const node = inner.currentNode;
      const instead = () => node.getAttribute("aria-label") ?? node.getAttribute("alt") ?? "";
      parts.push(node.nodeType === 3 ? node.textContent : instead());
    }
    return parts.join("");
  };
  const named = (e, name) => (e.getAttribute(name) ?? "").split(/\s+/).filter(Boolean);
  const nameOf = (e) => [
    named(e, "aria-labelledby").map((id) => document.getElementById(id)?.textContent ?? "").join(""),
    e.getAttribute("aria-label"), ...[...(e.labels ?? [])].map(spoken),
    e.matches("select, textarea, input") ? ["button", "submit", "reset"].includes(e.type) && e.value : spoken(e),
    e.getAttribute("title"),
  ].find((text) => text && text.trim());
  const controls = "button, input:not([type=hidden]), select, textarea, a[href], summary";
  for (const e of all(`${controls}, [role=button], [role=region]`))
    if (there(e) && !nameOf(e)) report("no label", e);
  for (const e of all("svg[role=img], img"))
    if (!(nameOf(e) || e.hasAttribute("alt"))) found.add("a picture without text");
  for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "for"])
    for (const e of all(`[${name}]`))
      for (const id of named(e, name)) if (!document.getElementById(id)) report(`${name} leads nowhere`, id);
  const ids = all("[id]").map((e) => e.id);
  for (const id of ids.filter((id, i) => ids.indexOf(id) !== i)) report("id twice", id);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) found.add(`${wide} pixels wider than the window`);
  for (const e of all("*")) {
    const style = getComputedStyle(e);
    if (e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(style.overflowX) && e.tabIndex < 0
        && e.tagName.toLowerCase() !== "math" && !e.querySelector("a, button") && e.clientWidth)
      report("scrolls, but not by keyboard", e);
  }
  return [...found];
}
"""
# Which of these selectors match nothing, or something that has no size, is transparent, or is covered.
OUT_OF_SIGHT = """
(selectors) => selectors.filter((selector) => {
  const e = document.querySelector(selector);
  if (!e?.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) return true;
  e.scrollIntoView({ block: "center", behavior: "instant" });
  const box = e.getClientRects()[0];
  if (box.width < 10 || box.height < 10) return true;
  const inside = (from, to, end) => (Math.max(from, 0) + Math.min(to, end)) / 2;
  const [x, y] = [inside(box.left, box.right, innerWidth), inside(box.top, box.bottom, innerHeight)];
  const hit = document.elementFromPoint(x, y);
  return !hit || !e.contains(hit);
})
"""

# After a mouse event on every element: what ran, and what no text may bring onto a page. That is scripts and elements
# that load something, attributes that act, links to elsewhere or to nothing, and ids that are unsafe or used twice.
INJECTED = r"""
() => {
  const all = [...document.querySelectorAll("*")];
  for (const e of all) e.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
  const acts = ({ name }) => name.startsWith("on");
  const strange = all.filter((e) => e.matches("img, script, iframe, object, embed, form, base, body style, svg style")
    || [...e.attributes].some(acts));
  const links = all.flatMap((e) => ["href", "src"].map((name) => e.getAttribute(name))).filter(Boolean);
  const clips = all.map((e) => e.getAttribute("clip-path")?.slice(4, -1)).filter(Boolean);
  const astray = [...links, ...clips].filter((link) => !["data:,", "lessons/index.html"].includes(link)
    && !(link.startsWith("#") && document.getElementById(link.slice(1))));
  const ids = all.map((e) => e.id).filter(Boolean);
  const unsafe = ids.filter((id, place) => ids.indexOf(id) !== place || !/^[A-Za-z0-9._-]+$/.test(id));
  return [window.hit ?? "nothing ran", ...strange.map((e) => e.outerHTML.slice(0, 90)), ...astray, ...unsafe];
}
"""
# Every text, and every text that is spoken instead of another.
TEXTS = """
() => [document.documentElement.textContent,
  ...[...document.querySelectorAll("[aria-label]")].map((e) => e.ariaLabel)].join("\\n")
"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="[^"]*">')


def without_policy(text: str) -> str:
    """The page without its content security policy, so that only its escaping protects it."""
    bare, count = POLICY.subn("", text)
    assert count == 1
    return bare


def executable() -> str | None:
    """The path of the system's Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless. If there is none the test is skipped; in CI it fails."""
    path = executable()
    if path is None:
        text = f"no browser: none of {', '.join(NAMES)} is on the PATH"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, file: Path, **options: Any) -> Iterator[Page]:
    """Opens a page from a file. At the end of the block it must have logged no error and requested only itself."""
    chosen: dict[str, Any] = {"viewport": DESK} | options
    context = browser.new_context(**chosen)
    page = context.new_page()
    page.set_default_timeout(10_000)
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: logged.append(str(error)))
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    try:
        page.goto(file.as_uri())
        yield page
        assert logged == []
        assert {url.partition("#")[0] for url in requested} <= {file.as_uri(), "data:,"}
    finally:
        context.close()
