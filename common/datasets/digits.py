"""Handwritten digits, read as a sequence of single pixels and classified after the last.

The 1797 images of 8 x 8 pixels that scikit-learn ships (the test part of Alpaydin & Kaynak's set of 1998 in the UCI
repository): 64 steps of one pixel, row by row, with grey values of 0 to 16 divided by 16. Ten classes of 174 to 183
images, split by class into 1197 for training, 300 for validation and 300 for the test; no two images are equal.

``plain`` reads the pixels row by row. ``permuted`` reads the same images in one random order, the same for all of them,
so that neighbours in the image are far apart in time.

The baseline always answers with the commonest class of the training part, which is right for about one image in ten.

Le, Jaitly & Hinton 2015 (arXiv:1504.00941, section 4.2) read MNIST in these two ways. This is its small sibling: 64
steps instead of 784 and 1197 images instead of 60,000, so published figures for MNIST cannot be compared with these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from common.backend.contract import Batch
from common.datasets.symbols import ACCURACY, accuracy, confusion, decode_class, majority, optional
from common.datasets.task import Dataset, Display, Outputs, Reading, Scoring, Task, Training
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec
from common.model.validate import require_positive_int, require_seed

IMAGES, PIXELS, WHITE = 1797, 64, 16
READINGS = {
    "plain": Reading(
        summary=f"{PIXELS} pixels in row order",
        asks="see an image of a digit one pixel at a time and name the digit",
        remembers=f"an image of {PIXELS} pixels",
        span=PIXELS,
        readout=f"An image of 8 by 8 pixels takes {PIXELS} steps. The output at the last step is read, when the whole "
        "image has been seen.",
    ),
    "permuted": Reading(
        summary="the same pixels in one random order, the same for every image",
        asks="the same with the pixels in a shuffled order",
        remembers=f"an image of {PIXELS} pixels, with neighbours far apart",
        span=PIXELS,
        readout="The same pixels in one random order, the same for every image, so that neighbours are far apart in "
        "time.",
    ),
}
LABELS = tuple("0123456789")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The number of images in each part; the seed of the split and of the order of the pixels."""

    train: int = 1197
    validation: int = 300
    test: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            require_positive_int(name, getattr(self, name))
        require_seed(self.seed)
        total = self.train + self.validation + self.test
        if total > IMAGES:
            raise InvalidInput(mismatch("train + validation + test", f"at most {IMAGES} images", total))


def make(reading: str, options: Options) -> Dataset:
    """The images in one of ``READINGS``."""
    images, labels = optional("digits", "scikit-learn", "sklearn.datasets").load_digits(return_X_y=True)
    order = np.arange(PIXELS)
    if reading == "permuted":
        order = np.random.default_rng([options.seed, 1]).permutation(PIXELS)
    parts = split(labels, options)
    train, validation, test = (Batch(sequences(images[part], order), labels[part].astype(np.int64)) for part in parts)
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="last_step", symbols=LABELS),
        scoring=Scoring(ACCURACY, majority(LABELS, train, test), accuracy),
        display=Display(
            partial(confusion, LABELS), partial(encode, images[parts[2]], order), partial(decode_class, LABELS)
        ),
        training=Training(
            hidden_size=32,
            epochs=30,
            batch_size=63,
            optimizer=OptimizerSpec(name="adam", lr=0.005, clip_norm=1.0),
            forget_bias=1.0,
        ),
    )


def sequences(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Images (N, 64) as (64, N, 1), the pixels in this order, white as 1."""
    return np.ascontiguousarray(images[:, order].T[:, :, None]) / WHITE


def split(labels: np.ndarray, options: Options) -> list[np.ndarray]:
    """The indices of the images of each part, shuffled; each part has its share of every class, to within an image."""
    rng = np.random.default_rng([options.seed, 0])
    shuffled = rng.permutation(len(labels))
    rest = shuffled[np.argsort(labels[shuffled], kind="stable")]
    parts = []
    for count in (options.test, options.validation, options.train):
        taken = np.arange(count) * len(rest) // count
        parts.append(rng.permutation(rest[taken]))
        rest = np.delete(rest, taken)
    return parts[::-1]


def encode(images: np.ndarray, order: np.ndarray, typed: Sequence[str]) -> Batch:
    """Images given as 64 grey values in row order, in either variant, or as the number of a test image."""
    rows = np.array([pixels(images, text) for text in typed]).reshape(-1, PIXELS)
    if not len(rows):
        raise InvalidInput(mismatch("image", "at least one", "none"))
    return Batch(sequences(rows, order), np.full(len(rows), -1))


def pixels(images: np.ndarray, text: str) -> np.ndarray:
    try:
        values = [float(field) for field in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1 and values[0] in range(len(images)):
        return images[int(values[0])]
    if len(values) == PIXELS and all(0 <= value <= WHITE for value in values):
        return np.array(values)
    wanted = f"{PIXELS} numbers from 0 to {WHITE}, or the number of a test image, 0 to {len(images) - 1}"
    raise InvalidInput(mismatch("image", wanted, repr(text)))


TASK = Task(
    name="digits",
    title="Handwritten digits",
    summary="recognise a handwritten digit from its 64 pixels, one by one",
    source="Le, Jaitly & Hinton 2015, section 4.2, with 8 x 8 images",
    readings=READINGS,
    options=Options,
    make=make,
    seconds=12,
)
