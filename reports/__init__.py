"""Documents from records: ``report.html``, one self-contained page, and ``report.md``, its twin without pictures.

A pure function of the records: no clock and no environment, so that the same records give the same bytes, with one line
more where the reference pages lie in the same folder. Nothing here trains. ``write`` needs the extra ``report`` (Jinja2
and Matplotlib); ``verdict`` needs neither.
"""

from pathlib import Path
from typing import Any

from reports.results.verdict import Verdict, verdict

__all__ = ["Verdict", "verdict", "write"]


def write(records: list[dict[str, Any]], folder: Path, *, partial: bool = False) -> Path:
    """Writes ``report.html`` and ``report.md`` into ``folder``, whole or not at all; returns the path of the former.

    ``partial`` says that the records end early, and so does the report. Raises ``InvalidInput`` for a folder that
    cannot be written.
    """
    from reports.page.render import write

    return write(records, folder, partial)
