"""Documents from records: ``report.html``, one self-contained page, and ``report.md``, its twin without pictures.

A pure function of the records: no clock and no environment, so that the same records give the same bytes. Nothing here
trains. ``page`` is what a page is made of and how it is drawn, ``results`` what the records say, ``sections`` the
report part by part; ``teaching`` makes the pages of the lessons. ``write`` needs the extra ``report`` (Jinja2 and
Matplotlib); ``verdict`` needs neither.
"""

from collections.abc import Sequence
from pathlib import Path

from common.record_types import Record
from reports.page.model import Verdict
from reports.results.verdict import verdict

__all__ = ["Verdict", "verdict", "write"]


def write(records: Sequence[Record], folder: Path, *, partial: bool = False) -> Path:
    """Write ``report.html`` and ``report.md`` into ``folder``, whole or not at all; returns the path of the former.

    Both are rendered before either is written: an old report stays whole until a new one takes its place. ``partial``
    says that the records end early, and so does the report. Raises ``InvalidInput`` if the folder cannot be written.
    """
    from reports.page.render import markdown, page, write_all
    from reports.sections import build

    report = build(records, partial)
    write_all(folder, {"report.md": markdown(report), "report.html": page(report)})
    return folder / "report.html"
