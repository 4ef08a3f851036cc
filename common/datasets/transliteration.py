"""Japanese kana to Latin letters: from one sequence to another of a different length, with an encoder and a decoder.

A word has 2 to 6 morae, drawn at random and written in hiragana or in katakana, one script per word: a kana (か ka),
one in -i with a small ya, yu or yo (きゃ kya), the syllabic ん n inside or at the end, or a small っ, which doubles the
consonant after it (かっか kakka). The letters of a kana are in its Unicode name ("HIRAGANA LETTER KA"). These names
spell in Nihon-shiki, by the kana and not by the sound: si, ti, tu, hu, zi, di, du; ん is n before a vowel too, without
the apostrophe. The words mean nothing.

3000 words are for training, 300 for validation and 300 for the test; no spelling in letters occurs twice, in either
script.

The metric is the share of words with every letter, and the end, right. In training the decoder reads the right letters
(teacher forcing); when it is judged it reads its own, the likeliest of each step.

The baseline reads kana one at a time and remembers nothing: it joins their names. きゃ becomes kiya and っか tuka, so
it is right for words without a small kana, 37 % of the test words. One fixed answer would be right for none.

Encoder and decoder are those of Sutskever, Vinyals & Le 2014 and Cho et al. 2014, who translated English to French.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.symbols import encoded, padded
from common.datasets.task import Baseline, Dataset, Display, Metric, Outputs, Reading, Scoring, Task, Training
from common.model.run import OptimizerSpec
from common.model.validate import require_positive_int, require_seed

METRIC = Metric(
    name="exact match",
    text="the share of words spelled without a mistake (exact match)",
    higher=True,
    share=True,
)
READINGS = {
    "words": Reading(
        summary="the final state of an encoder of kana starts a decoder of letters",
        asks="spell a Japanese word of 2 to 6 sounds in Latin letters",
        remembers="a whole word, then the position in it",
        span=10,
        readout="One network, the encoder, reads the kana; its final state starts a second one, the decoder, whose "
        "output is read at every step and gives the letters one by one. Two networks are needed because the answer is "
        "another sequence, of a different length.",
    )
}
SCRIPTS = ("HIRAGANA", "KATAKANA")
NAMES = [unicodedata.name(chr(code)).partition(" LETTER ")[2] for code in range(0x3041, 0x3097)]
PLAIN = [(name,) for name in NAMES if name != "N" and not name.startswith("SMALL ")]
DIGRAPHS = [
    (name, f"SMALL {glide}") for (name,) in PLAIN if name[1:] == "I" and name[0] != "W" for glide in ("YA", "YU", "YO")
]
SYLLABIC, DOUBLING = ("N",), ("SMALL TU",)
DOUBLED = "KSTPGZDB"
SHORTEST, LONGEST = 2, 6
P_DIGRAPH, P_SYLLABIC, P_DOUBLING = 0.2, 0.1, 0.1
USED = sorted({name for mora in (*PLAIN, *DIGRAPHS, SYLLABIC, DOUBLING) for name in mora})
SYMBOLS = tuple(sorted(unicodedata.lookup(f"{script} LETTER {name}") for script in SCRIPTS for name in USED))
LETTERS = ("<s>", "</s>", *sorted({letter.lower() for (name,) in PLAIN for letter in name}))
START, END = 0, 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """The number of words in each part, and the seed that they are drawn from."""

    train: int = 3000
    validation: int = 300
    test: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            require_positive_int(name, getattr(self, name))
        require_seed(self.seed)


def make(reading: str, options: Options) -> Dataset:
    """The words in the only one of ``READINGS``; validation and test do not depend on the number of training words."""
    seen: set[str] = set()
    counts = {2: options.test, 1: options.validation, 0: options.train}
    words = {part: draw_words(np.random.default_rng([options.seed, part]), counts[part], seen) for part in counts}
    train, validation, test = (pairs(words[part]) for part in (0, 1, 2))
    joined = float(np.mean([names(word) == romanise(word) for word in words[2]]))
    names_joined = "the names of the kana, joined: wrong for every small kana; one fixed answer gets 0"
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="encoder_decoder", symbols=LETTERS),
        scoring=Scoring(METRIC, Baseline(joined, names_joined), score),
        display=Display(picture, encode, decode),
        training=Training(
            hidden_size=64,
            epochs=16,
            batch_size=60,
            optimizer=OptimizerSpec(name="adam", lr=0.01, clip_norm=1.0),
            forget_bias=1.0,
        ),
        symbols=SYMBOLS,
    )


def draw_words(rng: np.random.Generator, count: int, seen: set[str]) -> list[str]:
    """Words whose spellings in letters are new; adds these to ``seen``."""
    words: list[str] = []
    while len(words) < count:
        word = draw_word(rng)
        if (latin := romanise(word)) not in seen:
            seen.add(latin)
            words.append(word)
    return words


def draw_word(rng: np.random.Generator) -> str:
    """A word in kana; no ん at its start, no っ at its start or end or before what cannot be doubled."""
    script, morae, last = SCRIPTS[rng.integers(2)], [], int(rng.integers(SHORTEST, LONGEST + 1)) - 1
    for place in range(last + 1):
        kind, after_doubling = rng.random(), morae[-1:] == [DOUBLING]
        if place > 0 and not after_doubling and kind >= 1 - P_SYLLABIC:
            morae.append(SYLLABIC)
        elif 0 < place < last and not after_doubling and kind >= 1 - P_SYLLABIC - P_DOUBLING:
            morae.append(DOUBLING)
        else:
            able = DIGRAPHS if kind < P_DIGRAPH else PLAIN
            if after_doubling:
                able = [mora for mora in able if mora[0][0] in DOUBLED]
            morae.append(able[rng.integers(len(able))])
    return "".join(unicodedata.lookup(f"{script} LETTER {name}") for mora in morae for name in mora)


def names(word: str) -> str:
    """The names of the kana, joined: ka, kiya, tuka."""
    return "".join(unicodedata.name(kana).split()[-1].lower() for kana in word)


def romanise(word: str) -> str:
    """A word of kana in Latin letters: ka, kya, kka."""
    letters, double = "", False
    for kana in word:
        name = names(kana)
        if not unicodedata.name(kana).split()[2:-1]:
            letters += (name[0] if double else "") + name
            double = False
        elif name == "tu":
            double = True
        else:
            letters = letters[:-1] + name
    return letters


def pairs(words: Sequence[str]) -> Batch:
    """Words in kana (T, B); in letters, after the start symbol as read and before the end symbol as targets."""
    x, lengths = encoded("word", words, SYMBOLS)
    letters = [[LETTERS.index(letter) for letter in romanise(word)] for word in words]
    target = padded([[*row, END] for row in letters], fill=-1)
    return Batch(x, target, lengths=lengths, decoder_x=padded([[START, *row] for row in letters]))


def right(prediction: np.ndarray, batch: Batch) -> np.ndarray:
    """Which words (B,) have the largest logit (T', B, O) at the right symbol at every step up to the end symbol."""
    return ((prediction.argmax(-1) == batch.target) | (batch.target < 0)).all(0)


def score(prediction: np.ndarray, batch: Batch) -> float:
    """The share of words that are right."""
    return float(np.mean(right(prediction, batch)))


def spelled(numbers: np.ndarray) -> str:
    """The letters up to the end symbol, of numbers (T',)."""
    ends = np.flatnonzero(numbers == END)
    return "".join(LETTERS[number] for number in numbers[: ends[0] if len(ends) else None])


def picture(prediction: np.ndarray, batch: Batch) -> dict[str, Any]:
    """The first words, their right spellings, and the predicted ones."""
    predicted, correct, rows = decode(prediction, batch), right(prediction, batch), []
    for index, length in enumerate([] if batch.lengths is None else batch.lengths[:12]):
        kana = "".join(SYMBOLS[number] for number in batch.x[:length, index])
        rows.append([kana, spelled(batch.target[:, index]), predicted[index], "yes" if correct[index] else "no"])
    return {"plot": "strings", "columns": ["kana", "right", "predicted", "ok"], "rows": rows}


def encode(words: Sequence[str]) -> Batch:
    """Words in kana; the decoder has the start symbol, and space for two letters per kana and the end symbol."""
    x, lengths = encoded("word", words, SYMBOLS)
    shape = 2 * len(x) + 1, len(words)
    return Batch(x, np.full(shape, -1), lengths=lengths, decoder_x=np.full(shape, START))


def decode(prediction: np.ndarray, _: Batch) -> list[str]:
    """The likeliest letters of each word up to the end symbol, from logits (T', B, O)."""
    return [spelled(column) for column in prediction.argmax(-1).T]


TASK = Task(
    name="kana",
    title="Kana to letters",
    summary="spell Japanese kana in Latin letters, with an encoder and a decoder",
    source="after Sutskever, Vinyals & Le 2014 and Cho et al. 2014, on the Unicode names of the kana",
    readings=READINGS,
    options=Options,
    make=make,
    examples="Each letter is predicted after the network's own letters before it (greedy decoding).",
    seconds=30,
)
