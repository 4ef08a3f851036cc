"""Lessons as static pages: no script, nothing loaded from elsewhere, mathematics as MathML."""

import html
from collections.abc import Container, Sequence
from functools import cache
from typing import Any
from xml.etree.ElementTree import tostring

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markupsafe import Markup
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from reports.page.model import Block, Plot, Table
from reports.page.render import environment, style

from . import show, sources
from .script import Lesson, Ran


def mathematics(latex: str, display: bool = False) -> Markup:
    """LaTeX as MathML."""
    tree = convert_to_element(latex, display="block" if display else "inline")
    # The elements hold character references, which `convert` makes characters after it has escaped the text.
    for element in tree.iter():
        element.text = html.unescape(element.text or "")
    return Markup(tostring(tree, encoding="unicode"))


@cache
def _parser() -> MarkdownIt:
    def formula(latex: str, options: dict[str, Any]) -> str:
        return mathematics(latex, options["display_mode"])

    return (
        MarkdownIt("commonmark", {"html": False})
        .enable("table")
        .use(dollarmath_plugin, renderer=formula, double_inline=True)
    )


def prose(text: str, inline: bool = False) -> Markup:
    """Markdown with mathematics between dollar signs, as HTML."""
    parser = _parser()
    return Markup(parser.renderInline(text) if inline else parser.render(text))


def code(text: str) -> Markup:
    """Python, its tokens in classes of the style sheet."""
    return Markup(highlight(text, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))


@cache
def templates() -> Any:
    """The Jinja2 environment of the lessons' pages."""
    found = environment(autoescape=True)
    found.filters |= {"prose": prose, "code": code}
    found.filters["mathematics"] = lambda latex: mathematics(latex, display=True)
    found.tests |= {
        name: lambda item, kind=kind: isinstance(item, kind)
        for name, kind in {
            "sentence": show.Sentence,
            "table": Table,
            "plot": Plot,
            "block": Block,
            "snippet": show.Snippet,
            "beside": show.Beside,
        }.items()
    }
    return found


def fragment(item: show.Item) -> str:
    """One shown thing with the style sheet, as a notebook displays it."""
    sheet = style("lesson.css")
    return f"<style>{sheet}</style>{templates().get_template('shown.html.j2').module.shown(item)}"


def page(ran: Sequence[Ran], lesson: Lesson, others: Sequence[Lesson]) -> str:
    """A lesson that was run, as HTML."""
    place = [other.number for other in others].index(lesson.number)
    near = [others[n] if 0 <= n < len(others) else None for n in (place - 1, place + 1)]
    return (
        templates()
        .get_template("lesson.html.j2")
        .render(
            lesson=lesson,
            ran=ran,
            previous=near[0],
            following=near[1],
            notation=sources.notation(),
            style=style("lesson.css"),
        )
    )


def index(lessons: Sequence[Lesson], steppers: Sequence[tuple[str, str]], there: Container[int] | None = None) -> str:
    """The page that leads to all of them, or to those whose numbers are ``there``; ``steppers``: file names, titles."""
    linked = [there is None or lesson.number in there for lesson in lessons]
    return (
        templates()
        .get_template("lessons.html.j2")
        .render(lessons=list(zip(lessons, linked, strict=True)), steppers=steppers, style=style("lesson.css"))
    )


def file_name(lesson: Lesson) -> str:
    return f"{lesson.name}.html"
