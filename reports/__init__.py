"""Documents from records: ``report.html``, one self-contained page, and ``report.md``, its twin without pictures.

The report depends only on the records, not on the clock or the environment, so the same records give the same bytes;
the one exception is a link to the reference pages if they are in the same folder. Nothing here trains. ``page`` defines
what a page is made of and how it is drawn, ``results`` what the records say, ``sections`` the report part by part;
``teaching`` makes the pages of the lessons, and ``reference`` those of the modules. ``write`` needs the extra
``report`` (Jinja2 and Matplotlib); ``verdict`` needs neither.
"""

from collections.abc import Sequence
from pathlib import Path

from common.record_types import Record
from reports.page.model import Verdict
from reports.results.verdict import verdict

__all__ = ["Verdict", "verdict", "write"]

# The reference pages, which `make docs` writes next to the report.
REFERENCE = "api/index.html"


def write(records: Sequence[Record], folder: Path, *, partial: bool = False) -> Path:
    """Write ``report.html`` and ``report.md`` into ``folder``, whole or not at all; returns the path of the former.

    Both are rendered before either is written: an old report stays whole until a new one takes its place. ``partial``
    says that the records end early, and so does the report. Raises ``InvalidInput`` if the folder cannot be written.
    """
    from reports.page.render import markdown, page, write_all
    from reports.sections import build

    report = build(records, partial)
    reference = REFERENCE if (folder / REFERENCE).is_file() else ""
    write_all(folder, {"report.md": markdown(report, reference), "report.html": page(report, reference)})
    return folder / "report.html"
