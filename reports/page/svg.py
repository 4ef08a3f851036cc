"""Matplotlib figures as small SVG elements that are part of a page and take their colours from its style sheet.

Figures are drawn in stand-in colours, one for each variable of the style sheet, which the variables then replace, so
one picture serves light and dark screens and print.
"""

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from common.errors import InvalidInput, choice, mismatch

BACKEND_COLOURS = tuple(f"--series-{i}" for i in range(8))
HEAT_COLOURS = tuple(f"--heat-{i}" for i in range(7))
VARIABLES = ("--ink", "--muted", "--grid", "--panel", "--fail", "--on-fail", "--on-heat", "--band")
STAND_INS = {name: f"#fe01{i:02x}" for i, name in enumerate((*VARIABLES, *BACKEND_COLOURS, *HEAT_COLOURS))}
INK, MUTED, GRID, PANEL, FAIL, ON_FAIL, ON_HEAT, BAND = (STAND_INS[name] for name in VARIABLES)
SERIES = tuple(STAND_INS[name] for name in BACKEND_COLOURS)
HEAT = tuple(STAND_INS[name] for name in HEAT_COLOURS)

# Pictures of at most this width shrink with a narrow screen; wider ones scroll, as their text would be too small.
NARROW = 380

# What Matplotlib writes into a style attribute although SVG has an attribute of that name.
PRESENTATION = ("fill", "fill-opacity", "stroke", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap")
PRESENTATION += ("stroke-linejoin", "stroke-opacity", "stroke-width", "opacity")
PRESENTATION += ("font-size", "font-style", "font-weight", "text-anchor")

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # Simplification drops the lines without length that serve as dots.
    "path.simplify": False,
    "text.parse_math": False,
    "font.size": 11,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


def colour(index: int) -> str:
    return SERIES[index % len(SERIES)]


def variable(index: int) -> str:
    """The style sheet's name of ``colour(index)``."""
    return BACKEND_COLOURS[index % len(BACKEND_COLOURS)]


def identifier(*words: str) -> str:
    """An id that is safe everywhere; different words have different ids. Letters, digits and hyphens stay."""
    return ".".join(map(_safe, words))


def _safe(word: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9-]", "-", word)
    if word and safe == word:
        return word
    return f"{safe[:40]}_{sha256(word.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def draw(name: str, width: int, height: int, alt: str, paint: Callable[[Figure], None]) -> Markup:
    """An ``<svg>`` of width x height pixels; ``name``, an ``identifier``, is the prefix of all of its ids.

    Text is escaped where it enters: Matplotlib does it for what ``paint`` writes, ``alt`` is escaped here.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise InvalidInput(mismatch("name of a picture", "an identifier", repr(name)))
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A machine's own matplotlibrc would change the picture.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        # The reader's browser sets the text, in a font that may have what Matplotlib's lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasSVG(figure)
        paint(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return _finish(stream.getvalue(), name, width, height, alt)


def _finish(text: str, name: str, width: int, height: int, alt: str) -> Markup:
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", body, flags=re.DOTALL)
    ids = _ids(body, name)
    body = _in_tags(lambda tag: _short_tag(tag, ids), body)
    body = re.sub(r">\s+<", "><", body)
    body = _without_hidden(_without_bare_groups(body))
    label = html.escape(alt)
    fit = ' class="fit"' if width <= NARROW else ""
    start = (
        f'<svg role="img" aria-label="{label}"{fit} width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'stroke-linejoin="round" stroke-linecap="butt">'
    )
    return Markup(start + body.strip())


def _in_tags(change: Callable[[str], str], body: str) -> str:
    """Text stays as it is: Matplotlib escapes < and > in it and in attributes, so that what they enclose is a tag."""
    return re.sub(r"<[^>]*>", lambda found: change(found[0]), body)


def _short_tag(tag: str, ids: Mapping[str, str]) -> str:
    tag = tag.replace("xlink:href", "href")
    tag = re.sub(r' id="([^"]*)"', lambda found: f' id="{ids[found[1]]}"' if found[1] in ids else "", tag)
    tag = re.sub(r'(href="|url\()#([^")]+)', lambda found: f"{found[1]}#{ids[found[2]]}", tag)
    tag = re.sub(r' style="([^"]*)"', _as_attributes, tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    tag = re.sub(r'(?<= d=)"[^"]*"|(?<= [xy]=)"[^"]*"', _short_numbers, tag)
    for variable_name, stand_in in STAND_INS.items():
        tag = tag.replace(stand_in, f"var({variable_name})")
    return tag


def _as_attributes(style: re.Match[str]) -> str:
    """A style attribute as separate attributes, which need no permission from the page's policy."""
    pairs = [rule.strip().partition(": ") for rule in style[1].split(";") if rule.strip()]
    if foreign := next((name for name, _, _ in pairs if name not in (*PRESENTATION, "font-family")), None):
        raise InvalidInput(choice("style of a picture", PRESENTATION, foreign))
    return "".join(f' {name}="{value}"' for name, _, value in pairs if name != "font-family")


def _without_bare_groups(body: str) -> str:
    """Removes groups without any attribute, which do nothing but nest."""
    bare: list[bool] = []

    def keep(found: re.Match[str]) -> str:
        tag = found[0]
        if tag == "<g/>":
            return ""
        if tag != "</g>":
            bare.append(tag == "<g>")
            return "" if bare[-1] else tag
        return "" if bare.pop() else tag

    return re.sub(r"</g>|<g\b[^>]*>", keep, body)


def _without_hidden(body: str) -> str:
    """Removes lines that an equal line hides: all backends draw the same one."""
    lines = re.findall(r'<path d="[^"]{400,}"[^>]*>', body)
    shapes = [line.partition('" ')[0] for line in lines]
    for place, (line, shape) in enumerate(zip(lines, shapes, strict=True)):
        if shape in shapes[place + 1 :]:
            body = body.replace(line, "", 1)
    return body


def _ids(body: str, name: str) -> dict[str, str]:
    """Matplotlib's ids, which are random, where something refers to them -> the picture's name and a number."""
    tags = "".join(re.findall(r"<[^>]*>", body))
    wanted = dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', tags))
    return {old: f"{name}-{number}" for number, old in enumerate(wanted)}


def _short_numbers(found: re.Match[str]) -> str:
    """Rounds coordinates to tenths of a pixel, which is enough."""
    text = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), found[0])
    text = re.sub(r"\s*([MLCQz])\s*", r"\1", text)
    return re.sub(r"M([^ML]+)L\1(?=[M\"])", r"M\1z", text)
