"""What the tasks are, in everyday words."""

from typing import NamedTuple

from common.datasets import TASKS


class Words(NamedTuple):
    """A title, what is asked, what must be kept in mind and over how many steps, and the readout with its reason.

    ``caution`` is what one must know to read the score.
    """

    title: str
    asks: str
    keeps: str
    span: int
    readout: str
    caution: str = ""


# The sizes of the tasks, as they are unless one says otherwise.
ADDING, ORDER, SUM, COPY = (TASKS[name].options() for name in ("adding", "temporal-order", "sum", "copy"))
LENGTHS, FIRST, SECOND = ORDER.ranges
COPIED = COPY.delay + 10
LATEST = ADDING.steps + ADDING.steps // 10
WORDS = {
    ("sine", "windows"): Words(
        "Sine wave",
        "see 25 points of a wave, tell the next one",
        "the last few points",
        2,
        "Each window is a sequence of 25 values. The output at the last step is read, since the answer is one number "
        "that depends on all that came before.",
    ),
    ("sine", "article"): Words(
        "Sine wave",
        "see the points of a wave one by one, tell the next each time",
        "the last few points",
        2,
        "The same array is fed without its transpose, so the series itself passes by one value a step. The output of "
        "the last sequence of the batch is read at every step, because that sequence is the series.",
    ),
    ("sum", "sequence"): Words(
        "Sum of a series",
        f"add up {SUM.min_length} to {SUM.max_length} small numbers, most of them zero, heard one by one",
        f"a running total over up to {SUM.max_length} steps",
        SUM.max_length,
        "One number comes a step. The output at the last step is read, since the sum is known only then.",
    ),
    ("sum", "vector"): Words(
        "Sum of a series",
        "add up the same numbers, all seen at once",
        "nothing: there is one step",
        1,
        "The whole series comes as one vector in a single step, so nothing recurs and this is a feed-forward network; "
        "the output of that step, which is also the last, is read.",
    ),
    ("adding", "modern"): Words(
        "Adding problem",
        f"{ADDING.steps} numbers pass by, two of them are marked: tell the sum of those two",
        f"two numbers over up to {ADDING.steps} steps",
        ADDING.steps,
        "The output at the last step is read: one number answers for the whole sequence, and the marked values can be "
        f"almost {ADDING.steps} steps back.",
    ),
    ("adding", "1997"): Words(
        "Adding problem",
        "the same as first published: both marks come early",
        f"two numbers over {ADDING.steps // 2} to {LATEST} steps",
        LATEST,
        "As published in 1997: values from -1 to 1, both marks in the first half of "
        f"{ADDING.steps} to {LATEST} steps. The output at the last step is read.",
    ),
    ("temporal-order", "6a"): Words(
        "Temporal order",
        f"two signals come far apart among {ORDER.steps} meaningless letters: tell which came first and which second",
        f"two letters over {LENGTHS[0] - SECOND[1]} to {LENGTHS[1] - FIRST[0]} steps",
        LENGTHS[1] - FIRST[0],
        "The output at the last step is read, where the string ends with the sign to answer: one of four classes.",
    ),
    ("reber", "embedded"): Words(
        "Embedded Reber grammar",
        "after every letter of a string, tell which letters the rules allow next",
        "the second letter until the last but one, about 13 steps",
        13,
        "The output at every step is read, because every letter has an answer of its own. A string counts only if all "
        "of its steps are right; the hard one is the last but one, which repeats the second letter of the string.",
        "A guess at the last letter but one is right half the time: what counts is a success rate far above one half.",
    ),
    ("copy", "copy"): Words(
        "Copying memory",
        f"hear ten digits, wait {COPY.delay} steps, say them again in order",
        f"ten digits over {COPIED} steps",
        COPIED,
        "The output at every step is read: blanks first, then, after the sign to begin, one digit a step.",
    ),
    ("digits", "plain"): Words(
        "Handwritten digits",
        "see a picture of a digit one pixel at a time, tell the digit",
        "a picture of 64 pixels",
        64,
        "A picture of 8 by 8 pixels comes as 64 steps. The output at the last step is read, when the whole picture "
        "has been seen.",
    ),
    ("digits", "permuted"): Words(
        "Handwritten digits",
        "the same with the pixels in a shuffled order",
        "a picture of 64 pixels, with neighbours far apart",
        64,
        "The same pixels in one random order, the same for every picture, so that neighbours are far apart in time.",
    ),
    ("text", "characters"): Words(
        "Text",
        "read a text letter by letter, tell the next letter each time",
        "the word and the phrase so far",
        10,
        "The output at every step is read: after each character, how likely every other is to come next. Bits per "
        "character are how many yes-or-no questions the next character still costs on average. Fed with its own "
        "guesses, such a network writes; a temperature below 1 favours the likely characters.",
    ),
    ("kana", "words"): Words(
        "Kana to letters",
        "spell a Japanese word of 2 to 6 sounds in Latin letters",
        "a whole word, then where one is in it",
        10,
        "One network, the encoder, reads the kana; its final state starts a second one, the decoder, whose output is "
        "read at every step and gives the letters one by one. Two networks are needed as the answer is another "
        "sequence, of another length.",
    ),
    ("places", "letters"): Words(
        "Place names",
        "read the name of a town, tell which part of the world it is in",
        "a name of about 8 letters",
        8,
        "The name is read forwards and backwards, and the two final states side by side are read out: each has seen "
        "the whole name, whereas the backward output at the last step has seen one letter.",
    ),
}


# What the columns of a table of examples say.
EXAMPLES = {
    "text": "What went before, the character that comes next, and the three that the network thinks likeliest; ␣ is a "
    "blank, ↵ the end of a line.",
    "reber": "After which symbol of a string the network first goes wrong, what the rules allow there, what it said.",
    "kana": "Each letter is predicted after the network's own letters before it (greedy decoding).",
}
METRICS = {
    "MSE": "the mean squared error (MSE)",
    "mean absolute error of the sum": "how far off the sum is on average (mean absolute error)",
    "accuracy": "the share of right answers (accuracy)",
    "success rate": "the share of strings that are right throughout (success rate)",
    "cross-entropy": "how unexpected the right symbol was on average (cross-entropy, in nats a step)",
    "bits per character": "bits per character",
    "exact match": "the share of words spelled without a mistake (exact match)",
}


def words_of(task: str, reading: str) -> Words:
    """The words for a task and reading; of an unknown one its name, and the summary if the package has it."""
    if found := WORDS.get((task, reading)):
        return found
    known = TASKS.get(task)
    return Words(task, known.summary if known else f"{task}, {reading}", "–", 0, "")


# Readout -> what is read, which kind of task it serves.
READOUTS = {
    "last_step": ("the output at the last step", "one answer to a whole sequence: a number or a class"),
    "final_state": (
        "the final hidden state, of both directions side by side",
        "one answer to a whole sequence that is read forwards and backwards",
    ),
    "every_step": ("the output at every step", "an answer after each element: the next symbol, a label for each"),
    "encoder_decoder": (
        "the outputs of a second network, the decoder, which starts from the final state of the first",
        "a sequence in, another of another length out: translation, spelling",
    ),
    "last_sequence": (
        "the output of the last sequence of the batch, at every step",
        "no kind of task: a mistake with the axes that this project reproduces",
    ),
}
