"""A report as HTML and as Markdown, and files that are written whole or not at all."""

import html
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from common.errors import InvalidInput, mismatch
from reports.page.model import Report
from reports.page.policy import policy
from reports.page.svg import STAND_INS

# A GitHub issue takes up to 65,536 characters.
MARKDOWN_LIMIT = 60_000
TEMPLATES = Path(__file__).parents[1] / "templates"


def write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write file name -> text into a folder, which is made if there is none; returns the paths."""
    files = {folder / name: text for name, text in texts.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace_all(files)
    except OSError as error:
        raise InvalidInput(mismatch("output folder", "a writable folder", f"{folder} ({error})")) from error
    return list(files)


def _replace_all(texts: Mapping[Path, str]) -> None:
    """All files are complete under temporary names before the first one takes its place."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in texts}
    try:
        for path, text in texts.items():
            temporary[path].write_text(text, encoding="utf-8", newline="\n")
        for path, written in temporary.items():
            written.replace(path)
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


@cache
def environment(autoescape: bool) -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.globals["policy"] = policy
    return found


def style(*files: str) -> Markup:
    """Style sheets, with a class for each colour in the pictures, by which legends refer to it."""
    sheets = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", *files)]
    colours = (f".in{name} {{ --own: var({name}); }}\n" for name in STAND_INS)
    return Markup("".join([*sheets, *colours]))


def page(report: Report, reference: str = "") -> str:
    """The whole page as HTML; ``reference`` is the address of the reference pages, empty where there are none."""
    template = environment(autoescape=True).get_template("report.html.j2")
    return template.render(report=report, reference=reference, style=style())


def markdown(report: Report, reference: str = "") -> str:
    """The report as Markdown; if too long to paste, without the numbers of the plots, then with shorter tables."""
    template = markdown_environment().get_template("report.md.j2")
    text = ""
    for data, limit in ((True, None), (False, None), (False, 50), (False, 20), (False, 10), (False, 5)):
        text = template.render(report=report, reference=reference, data=data, limit=limit)
        if len(text.encode()) < MARKDOWN_LIMIT:
            break
    return text


def markdown_environment() -> jinja2.Environment:
    """Templates of Markdown, with the filters that make text harmless in it."""
    templates = environment(autoescape=False)
    templates.filters |= {"plain": _plain, "code": _code, "html": _html, "fenced": _fenced}
    return templates


def _html(text: str) -> str:
    """Text on one line that can stand between the tags of an HTML element."""
    return html.escape(" ".join(text.split()), quote=False)


def _plain(text: str) -> str:
    """Text on one line that has no special meaning in Markdown, even in a table."""
    return re.sub(r"[\\`*_\[\]|~$]", r"\\\g<0>", _html(text))


def _code(text: str) -> str:
    """Code on one line, also in a table."""
    # Readers of Markdown differ in what a bar, or a backslash before it, means between backticks.
    return f"`{text}`" if re.fullmatch(r"[^`|\s]+( [^`|\s]+)*", text) else f"<code>{_plain(text)}</code>"


def _fenced(text: str, language: str) -> str:
    """Lines as they are, in a fence that none of them can close."""
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"
