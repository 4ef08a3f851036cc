"""The report as files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from common.errors import InvalidInput, mismatch

from .document import build
from .model import Report
from .verdict import Record

# An issue takes 65,536 characters.
MARKDOWN_LIMIT = 60_000
TEMPLATES = Path(__file__).parent / "templates"


def write(records: Sequence[Record], folder: Path, partial: bool) -> Path:
    """Both files, rendered before either is touched; an old report stays whole until a new one takes its place."""
    report = build(records, partial)
    write_all(folder, {"report.md": markdown(report), "report.html": page(report)})
    return folder / "report.html"


def write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """File name -> text, into a folder that is made where there is none; returns the paths."""
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


def environment(autoescape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def page(report: Report) -> str:
    """The whole page as HTML."""
    templates = environment(autoescape=True)
    templates.filters["svg"] = Markup
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return templates.get_template("report.html.j2").render(report=report, style=style)


def markdown(report: Report) -> str:
    """The twin; if it would be too long to paste, without the numbers behind the plots, then with shorter tables."""
    templates = environment(autoescape=False)
    templates.filters["cell"] = _cell
    template = templates.get_template("report.md.j2")
    text = ""
    for data, limit in ((True, None), (False, None), (False, 50), (False, 20), (False, 10), (False, 5)):
        text = template.render(report=report, data=data, limit=limit)
        if len(text.encode()) < MARKDOWN_LIMIT:
            break
    return text


def _cell(text: str) -> str:
    """Text that can stand in a Markdown table and means nothing else there."""
    for sign in ("\\", "`", "*", "_", "[", "]", "|"):
        text = text.replace(sign, "\\" + sign)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
