"""What the records say, before it is put into words and pictures.

``verdict`` judges the check records, ``runs`` puts training records together by run and measures how far their losses
diverge, ``outcomes`` and ``regimen`` do so for the tasks of the full study, and ``commands`` has the commands that
reproduce a section's numbers.
"""

from reports.results.commands import check_commands, seed_of, train_commands
from reports.results.runs import Gap, Run, gaps, largest_gap, numbers_of
from reports.results.verdict import implementations, names, split, worst

__all__ = [
    "Gap",
    "Run",
    "check_commands",
    "gaps",
    "implementations",
    "largest_gap",
    "names",
    "numbers_of",
    "seed_of",
    "split",
    "train_commands",
    "worst",
]
