"""What a browser can say about a page: contrast, labels, overflow, and whether it asked for anything."""

import os
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
# Every text with a contrast below WCAG's AA, every control without a name, every id that stands twice, and whether the
# page is wider than its window.
AUDIT = r"""
() => {
  const found = [];
  const parse = (text) => {
    const n = text.match(/[\d.]+/g).map(Number);
    if (text.startsWith("color(srgb")) return [n[0] * 255, n[1] * 255, n[2] * 255, n.length > 3 ? n[3] : 1];
    return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = (c) => {
    const bent = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const part = c.slice(0, 3).map((v) => bent(v / 255));
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.textContent.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
    if (!element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.right < 0) continue;
    texts += 1;
    const style = getComputedStyle(element), below = behind(element);
    const own = element.closest("svg") ? style.fill : style.color;
    if (own === "none" || element.closest("option")) continue;
    const pair = [light(over(parse(own), below)), light(below)].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05), size = parseFloat(style.fontSize);
    const mark = element.closest('[aria-hidden=true]');
    const large = mark || size >= 24 || (size >= 18.6 && parseInt(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
  }
  if (texts < 20) found.push(`only ${texts} texts were looked at`);
  for (const e of document.querySelectorAll("button, input, select, a[href], summary")) {
    const labels = e.labels ? [...e.labels].map((l) => l.textContent).join("") : "";
    const name = e.getAttribute("aria-label") || e.getAttribute("title") || labels || e.textContent;
    if (!name.trim()) found.push(`no label: ${e.outerHTML.slice(0, 80)}`);
  }
  for (const e of document.querySelectorAll("svg[role=img], img")) {
    if (!(e.getAttribute("aria-label") || e.getAttribute("alt"))) found.push("a picture without text");
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) found.push(`id twice: ${id}`);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) found.push(`${wide} pixels wider than the window`);
  for (const e of document.querySelectorAll("*")) {
    const style = getComputedStyle(e);
    if (e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(style.overflowX) && e.tabIndex < 0
        && e.tagName.toLowerCase() !== "math" && !e.querySelector("a, button") && e.clientWidth)
      found.push(`scrolls, but not by keyboard: ${e.outerHTML.slice(0, 80)}`);
  }
  return found;
}
"""


def executable() -> str | None:
    """The system's Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless; where there is none a skip, and in CI a failure."""
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
    """A page from a file; behind the block, it must have logged no error and asked for nothing but itself."""
    chosen: dict[str, Any] = {"viewport": DESK} | options
    context = browser.new_context(**chosen)
    page = context.new_page()
    page.set_default_timeout(10_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(file.as_uri())
        yield page
        assert said == []
        assert {url.partition("#")[0] for url in asked} <= {file.as_uri(), "data:,"}
    finally:
        context.close()
