"""Training: ``settings`` says what to train and how, ``batching`` cuts the batches, ``loop`` is the one training loop
for every backend, and ``decoding`` lets a trained network read its own output.

The loop is shared; each backend's trainer decides what an update is. Batches and dropout masks follow from the data
and the seed alone, so that every backend sees the same.
"""

from common.training.decoding import generate, greedy
from common.training.loop import Evaluation, Progress, Result, fit, train
from common.training.settings import resolve, run_spec

__all__ = ["Evaluation", "Progress", "Result", "fit", "generate", "greedy", "resolve", "run_spec", "train"]
