"""The part of the world that a place is in, from the letters of its name, read forwards and backwards.

The names are those of the time zones in the package ``tzdata``: the last part of America/Argentina/Buenos_Aires, in
small letters and with spaces for underscores. The label is the first part: Africa, America, Antarctica, Asia, Atlantic,
Australia, Europe, Indian or Pacific. Left out are zones without such a part (UTC, Japan, Etc/GMT+1), the old ones under
a country (US/Pacific), Arctic, which has one zone, and names under two labels (Istanbul, Nicosia). With tzdata 2026.6
this leaves 477 names, a third of them American; North and ACT, old names of Australian zones, are among them.

Names of one place stay in one part of the data: those that the database links to one zone (Calcutta and Kolkata, but
also Abidjan, Accra and eleven more, which keep the same time) and those that are spelled alike (Faeroe and Faroe, but
also Malta and Salta), where ``difflib`` finds at least four fifths of their letters in common. Validation and test each
take about 15 % of the names of each label, in whole groups, so that every label is in every part and the largest groups
are in training: 333 names, 72 and 72.

The baseline always answers with the commonest label of the training part.

After the name classification of PyTorch's tutorials (Robertson 2017), which recognises the language of a surname with a
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
from common.datasets.symbols import ACCURACY, accuracy, confusion, decode_class, encoded, majority, optional
from common.datasets.task import Dataset, Display, Outputs, Reading, Scoring, Task, Training
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec
from common.model.validate import require_number, require_seed

READINGS = {
    "letters": Reading(
        summary="the letters of a name, forwards and backwards",
        asks="read the name of a place and say which part of the world it is in",
        remembers="a name of about 8 letters",
        span=8,
        readout="The name is read forwards and backwards, and the two final states are read side by side: each has "
        "seen the whole name, whereas the backward output at the last step has seen only one letter.",
    )
}
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
    """The names in the only one of ``READINGS``."""
    package = resources.files(optional("places", "tzdata", "tzdata"))
    zones = package.joinpath("zones").read_text(encoding="ascii").split()
    rules = package.joinpath("zoneinfo", "tzdata.zi").read_text(encoding="utf-8").splitlines()
    labels = labelled(zones)
    links = [zones for kind, *zones in map(str.split, rules) if kind == "L"]
    symbols = tuple(sorted(set("".join(labels))))
    parts = [batch(symbols, labels, part) for part in split(groups(list(labels), links), labels, options)]
    return Dataset(
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        outputs=Outputs(readout="final_state", symbols=LABELS),
        scoring=Scoring(ACCURACY, majority(LABELS, parts[0], parts[2]), accuracy),
        display=Display(partial(confusion, LABELS), partial(encode, symbols), partial(decode_class, LABELS)),
        training=Training(
            hidden_size=32,
            bidirectional=True,
            epochs=25,
            batch_size=16,
            optimizer=OptimizerSpec(name="adam", lr=0.002, clip_norm=1.0),
            forget_bias=1.0,
            patience=15,
        ),
        symbols=symbols,
    )


def place(zone: str) -> str:
    return zone.rpartition("/")[2].replace("_", " ").lower()


def is_labelled(zone: str) -> bool:
    return zone.partition("/")[0] in LABELS


def labelled(zones: Sequence[str]) -> dict[str, str]:
    """The label of every name that has exactly one, in the order of the names."""
    labels_of: dict[str, set[str]] = {}
    for zone in zones:
        if is_labelled(zone):
            labels_of.setdefault(place(zone), set()).add(zone.partition("/")[0])
    return {name: min(labels) for name, labels in sorted(labels_of.items()) if len(labels) == 1}


def groups(names: list[str], links: Sequence[Sequence[str]]) -> list[list[str]]:
    """Groups of names that are joined by a link or by their spelling, directly or through others."""
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
    """Groups in random order: each goes to test, else to validation, if its commonest label has room there."""
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
    """Names as they are typed, in upper or lower case."""
    x, lengths = encoded("place", [place(name) for name in names], symbols)
    return Batch(x, np.full(len(names), -1), lengths=lengths)


TASK = Task(
    name="places",
    title="Place names",
    summary="say which part of the world a place is in, from the letters of its name",
    source="the IANA time-zone database; after the name classification of PyTorch's tutorials",
    readings=READINGS,
    options=Options,
    make=make,
    seconds=5,
)
