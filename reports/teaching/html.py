"""Text, mathematics, code and shown items as HTML; mathematics becomes MathML, so that a page needs no script."""

import html
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
from reports.teaching.items import Beside, Item, Sentence, Snippet

# What the templates call an item of each type, as in ``item is table``.
KINDS = {"sentence": Sentence, "table": Table, "plot": Plot, "block": Block, "snippet": Snippet, "beside": Beside}


def mathematics(latex: str, display: bool = False) -> Markup:
    """LaTeX as MathML."""
    tree = convert_to_element(latex, display="block" if display else "inline")
    # The elements hold character references, which `convert` turns into characters only after it has escaped the text.
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
    """Python as HTML; its tokens have classes that the style sheet colours."""
    return Markup(highlight(text, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))


@cache
def templates() -> Any:
    """The Jinja2 environment of the lessons' pages."""
    made = environment(autoescape=True)
    made.filters |= {"prose": prose, "code": code}
    made.filters["mathematics"] = lambda latex: mathematics(latex, display=True)
    made.tests |= {name: lambda item, kind=kind: isinstance(item, kind) for name, kind in KINDS.items()}
    return made


def fragment(item: Item) -> str:
    """One shown item together with the style sheet, as a notebook displays it."""
    sheet = style("lesson.css")
    return f"<style>{sheet}</style>{templates().get_template('shown.html.j2').module.shown(item)}"
