"""What a page is made of and how it is drawn; nothing here knows about records.

``model`` has the parts of a report as plain data, ``render`` writes them as HTML and Markdown under the security policy
of ``policy``, ``plots`` and ``task_plots`` draw pictures with ``svg``, and ``numbers`` formats numbers.
"""

from reports.page.model import Block, Key, Panel, Plot, Report, Section, Table, Verdict

__all__ = ["Block", "Key", "Panel", "Plot", "Report", "Section", "Table", "Verdict"]
