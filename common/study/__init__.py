"""The experiments that make records.

``study`` runs all of them: the ladder of checks, the sine wave trained in every backend and the cell with one bias
(``sine``), the tasks over several seeds (``tasks``, with ``gradient_norms``), and the timings (``bench``, each arm in a
process of ``bench_worker``). ``runs`` makes the records of one training run in several backends, and ``environment``
those of what everything ran on.
"""

from common.study.bench import Case, Ratio, cases, ratio
from common.study.runs import compare_runs, run_data, train_everywhere, training_record
from common.study.sine import one_bias, series, sine_runs

__all__ = [
    "Case",
    "Ratio",
    "cases",
    "compare_runs",
    "one_bias",
    "ratio",
    "run_data",
    "series",
    "sine_runs",
    "train_everywhere",
    "training_record",
]
