"""Place names to their part of the world, letter by letter, read forwards and backwards.

The names are those of the time zones in the package ``tzdata``: of America/Argentina/Buenos_Aires the last part, in
small letters and with underscores as blanks. The label is the first part: Africa, America, Antarctica, Asia, Atlantic,
Australia, Europe, Indian or Pacific. Left out are zones without such a part (UTC, Japan, Etc/GMT+1), the old ones under
a country (US/Pacific), Arctic, which has one zone, and names under two labels (Istanbul, Nicosia). With tzdata 2026.6
this leaves 477 names, a third of them American; North and ACT, old names of Australian zones, are among them.

Names of one place stay in one part of the data: those that the database links to one zone (Calcutta and Kolkata, but
also Abidjan, Accra and eleven more, which keep the same time) and those that are spelled alike (Faeroe and Faroe, but
also Malta and Salta): ``difflib`` finds four fifths or more of their letters in common. Validation and test take about
15 % of the names of each label, in whole groups, so that every label is in every part and the largest groups are for
training: 333 names, 72 and 72.

The baseline always says the commonest label of the training part.

After the name classification of PyTorch's tutorials (Robertson 2017), which tells the language of a surname with a
network of one direction.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import resources

import numpy as np

from common.backend.contract import Batch
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec
from common.model.validate import require_number, require_seed

from .symbols import accuracy, confusion, decode_class, encoded, majority, optional
from .task import Dataset, Metric, Task, Training

READINGS = {"letters": "the letters of a name, forwards and backwards"}
LABELS = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
ALIKE = 0.8


@dataclass(frozen=True, kw_only=True)
class Options:
    """The share of each label's names that is held out for either part; the seed of the split."""

    validation: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            share = getattr(self, name)
            require_number(name, share)
            if not 0.1 <= share <= 0.4:
                raise InvalidInput(mismatch(name, "a share from 0.1 to 0.4", share))
        require_seed(self.seed)


def make(reading: str, options: Options) -> Dataset:
    """The names under the one of ``READINGS``."""
    package = resources.files(optional("places", "tzdata", "tzdata"))
    zones = package.joinpath("zones").read_text(encoding="ascii").split()
    rules = package.joinpath("zoneinfo", "tzdata.zi").read_text(encoding="utf-8").splitlines()
    labels = labelled(zones)
    links = [zones for kind, *zones in map(str.split, rules) if kind == "L"]
    symbols = tuple(sorted(set("".join(labels))))
    parts = [batch(symbols, labels, part) for part in split(groups(list(labels), links), labels, options)]
    return Dataset(
        task="places",
        reading=reading,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        readout="final_state",
        readout_size=len(LABELS),
        loss="cross_entropy",
        metric=Metric("accuracy", higher=True),
        baseline=majority(LABELS, parts[0], parts[2]),
        score=accuracy,
        picture=partial(confusion, LABELS),
        training=Training(
            hidden_size=32,
            epochs=25,
            batch_size=16,
            optimizer=OptimizerSpec(name="adam", lr=0.002, clip_norm=1.0),
            forget_bias=1.0,
            patience=15,
        ),
        inputs="one_hot",
        symbols=symbols,
        output_symbols=LABELS,
        encode=partial(encode, symbols),
        decode=partial(decode_class, LABELS),
        bidirectional=True,
    )


def place(zone: str) -> str:
    return zone.rpartition("/")[2].replace("_", " ").lower()


def is_labelled(zone: str) -> bool:
    return zone.partition("/")[0] in LABELS


def labelled(zones: Sequence[str]) -> dict[str, str]:
    """The label of every name that has one, and one only, in the order of the names."""
    found: dict[str, set[str]] = {}
    for zone in zones:
        if is_labelled(zone):
            found.setdefault(place(zone), set()).add(zone.partition("/")[0])
    return {name: min(labels) for name, labels in sorted(found.items()) if len(labels) == 1}


def groups(names: list[str], links: Sequence[Sequence[str]]) -> list[list[str]]:
    """Names that a link or their spelling joins, directly or through others."""
    leader: dict[str, str] = {}

    def first(name: str) -> str:
        while (above := leader.setdefault(name, name)) != name:
            name = above
        return name

    for one, other in links:
        if is_labelled(one) and is_labelled(other):
            leader[first(place(one))] = first(place(other))
    for name in names:
        for alike in get_close_matches(name, names, len(names), ALIKE):
            leader[first(name)] = first(alike)
    joined: dict[str, list[str]] = {}
    for name in names:
        joined.setdefault(first(name), []).append(name)
    return list(joined.values())


def split(together: Sequence[list[str]], labels: dict[str, str], options: Options) -> list[list[str]]:
    """Groups in random order: to test, else to validation, where the share of its commonest label has room for it."""
    rng = np.random.default_rng(options.seed)
    sizes = Counter(labels.values())
    rooms = [{label: round(share * sizes[label]) for label in LABELS} for share in (options.test, options.validation)]
    parts: list[list[str]] = [[], [], []]
    for index in rng.permutation(len(together)):
        group = together[index]
        label = Counter(labels[name] for name in group).most_common(1)[0][0]
        part = next((part for part, room in enumerate(rooms) if room[label] >= len(group)), 2)
        parts[part] += group
        if part < 2:
            rooms[part][label] -= len(group)
    return [[part[index] for index in rng.permutation(len(part))] for part in parts[::-1]]


def batch(symbols: Sequence[str], labels: dict[str, str], names: Sequence[str]) -> Batch:
    x, lengths = encoded("place", names, symbols)
    return Batch(x, np.array([LABELS.index(labels[name]) for name in names], np.int64), lengths=lengths)


def encode(symbols: Sequence[str], names: Sequence[str]) -> Batch:
    """Names as they are typed, in large or small letters."""
    x, lengths = encoded("place", [place(name) for name in names], symbols)
    return Batch(x, np.full(len(names), -1), lengths=lengths)


TASK = Task(
    "places",
    "which part of the world a place is in, from the letters of its name",
    "the IANA time-zone database; after the name classification of PyTorch's tutorials",
    READINGS,
    Options,
    make,
    5,
)
