"""Lessons as Jupyter notebooks; what the cells showed is stored as their outputs."""

from collections.abc import Sequence

import jupytext
import nbformat

from reports.teaching.html import fragment
from reports.teaching.script import Ran


def notebook(ran: Sequence[Ran]) -> str:
    """The text of a notebook: the cells of the script as jupytext reads them, and their outputs."""
    text = "\n\n".join(_percent(each) for each in ran)
    made = jupytext.reads(text + "\n", fmt="py:percent")
    for number, (each, cell) in enumerate(zip(ran, made.cells, strict=True)):
        cell["id"] = f"cell-{number}"
        if not each.cell.prose:
            htmls = [fragment(item) for item in each.shown]
            cell["outputs"] = [nbformat.v4.new_output("display_data", {"text/html": html}) for html in htmls]
    nbformat.validate(made)
    return nbformat.writes(made)


def _percent(each: Ran) -> str:
    cell = each.cell
    if cell.prose:
        return "# %% [markdown]\n" + "\n".join(f"# {row}".rstrip() for row in cell.text.splitlines())
    tags = f' tags=["{cell.tag}"]' if cell.tag else ""
    return f"# %%{tags}\n{cell.text}"
