"""What the records say, before that is put into words and pictures.

``verdict`` judges the check records, ``runs`` puts training records together by run and measures how far their losses
diverge, ``outcomes`` and ``regimen`` do so for the tasks of the full study, ``ranking`` ranks the cells on them, and
``commands`` has the commands that reproduce a section's numbers.
"""

from reports.results.commands import check_commands, seed_of, train_commands
from reports.results.outcomes import Contest, Group, contests
from reports.results.ranking import Comparison, Ranking, rank, verdict_sentence
from reports.results.runs import Gap, Run, gaps, largest_gap, numbers_of
from reports.results.verdict import implementations, names, split, worst

__all__ = [
    "Comparison",
    "Contest",
    "Gap",
    "Group",
    "Ranking",
    "Run",
    "check_commands",
    "contests",
    "gaps",
    "implementations",
    "largest_gap",
    "names",
    "numbers_of",
    "rank",
    "seed_of",
    "split",
    "train_commands",
    "verdict_sentence",
    "worst",
]
