"""Matplotlib figures as small SVG elements that stand inside a page and take their colours from its style sheet.

Figures are drawn in stand-in colours, one for each variable of the style sheet, which the variables then replace: so
one picture serves light, dark and print.
"""

import html
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

BACKEND_COLOURS = tuple(f"--series-{i}" for i in range(8))
HEAT_COLOURS = tuple(f"--heat-{i}" for i in range(7))
VARIABLES = ("--ink", "--muted", "--grid", "--panel", "--fail", "--on-fail", "--on-heat", "--band")
STAND_INS = {name: f"#fe01{i:02x}" for i, name in enumerate((*VARIABLES, *BACKEND_COLOURS, *HEAT_COLOURS))}
INK, MUTED, GRID, PANEL, FAIL, ON_FAIL, ON_HEAT, BAND = (STAND_INS[name] for name in VARIABLES)
SERIES = tuple(STAND_INS[name] for name in BACKEND_COLOURS)
HEAT = tuple(STAND_INS[name] for name in HEAT_COLOURS)

# Pictures of at most this width shrink with a narrow screen; wider ones scroll, as their text would be too small.
NARROW = 380

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


def draw(name: str, width: int, height: int, alt: str, paint: Callable[[Figure], None]) -> str:
    """An ``<svg>`` of width x height pixels; ``name``, letters, digits and hyphens, begins all of its ids."""
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


def _finish(text: str, name: str, width: int, height: int, alt: str) -> str:
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", body, flags=re.DOTALL)
    body = _own_ids(body.replace("xlink:href", "href"), name)
    body = re.sub(r"; font-family: [^;\"]*", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r'(?<= d=)"[^"]*"|(?<= [xy]=)"[^"]*"', _short_numbers, body)
    for variable_name, stand_in in STAND_INS.items():
        body = body.replace(stand_in, f"var({variable_name})")
    body = re.sub(r">\s+<", "><", body)
    body = _without_hidden(_without_bare_groups(body))
    label = html.escape(alt)
    fit = ' class="fit"' if width <= NARROW else ""
    start = (
        f'<svg role="img" aria-label="{label}"{fit} width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    )
    return start + body.strip()


def _without_bare_groups(body: str) -> str:
    """Groups that carry nothing, not even an id, only nest."""
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
    """A line is not seen under an equal one, and all backends draw the same line."""
    lines = re.findall(r'<path d="[^"]{400,}"[^>]*>', body)
    shapes = [line.partition('" ')[0] for line in lines]
    for place, (line, shape) in enumerate(zip(lines, shapes, strict=True)):
        if shape in shapes[place + 1 :]:
            body = body.replace(line, "", 1)
    return body


def _own_ids(body: str, name: str) -> str:
    """Ids that something refers to become the picture's name and a number, for Matplotlib's are random; others go."""
    wanted = list(dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', body)))
    short = {old: f"{name}-{number}" for number, old in enumerate(wanted)}
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{short[found[1]]}"' if found[1] in short else "", body)
    return re.sub(r'(href="|url\()#([^")]+)', lambda found: f"{found[1]}#{short[found[2]]}", body)


def _short_numbers(found: re.Match[str]) -> str:
    """Tenths of a pixel are enough."""
    text = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), found[0])
    text = re.sub(r"\s*([MLCQz])\s*", r"\1", text)
    return re.sub(r"M([^ML]+)L\1(?=[M\"])", r"M\1z", text)
