"""Lessons as Jupyter notebooks, with what they showed as the cells' outputs."""

from collections.abc import Sequence

import jupytext
import nbformat

from . import pages
from .script import Ran


def notebook(ran: Sequence[Ran]) -> str:
    """A notebook's text: the cells of the script as jupytext reads them, and their outputs."""
    text = "\n\n".join(_percent(each) for each in ran)
    found = jupytext.reads(text + "\n", fmt="py:percent")
    for number, (own, cell) in enumerate(zip(ran, found.cells, strict=True)):
        cell["id"] = f"cell-{number}"
        if not own.cell.prose:
            data = [nbformat.v4.new_output("display_data", {"text/html": pages.fragment(item)}) for item in own.shown]
            cell["outputs"] = data
    nbformat.validate(found)
    return nbformat.writes(found)


def _percent(each: Ran) -> str:
    cell = each.cell
    if cell.prose:
        return "# %% [markdown]\n" + "\n".join(f"# {row}".rstrip() for row in cell.text.splitlines())
    return "# %%" + (f' tags=["{cell.tag}"]' if cell.tag else "") + "\n" + cell.text
