"""What was published on the tasks, beside which the study puts its own figures."""

from typing import NamedTuple


class Published(NamedTuple):
    """A figure as it was published, where, and what differs in the set-up from ours.

    ``numbers`` are those of the figure that ours are compared with; what they are, the rule of each figure knows.
    """

    task: str
    reading: str
    cell: str
    figure: str
    source: str
    differs: str
    numbers: tuple[float, ...]


HS97 = "Hochreiter & Schmidhuber 1997"
HS97_LSTM = "their LSTM has no forget gate, truncates its gradients, and learns from one sequence at a time by SGD"
ASB16 = "Arjovsky, Shah & Bengio 2016"
ADDING = f"{ASB16}, section 5.2, read off figure 2"
MNIST = "784 steps and 60,000 images there, 64 steps and 1,197 images here: the small sibling, not the same task"
OTHERS = (
    "the same form, one mark in each half, at T=100 (Le, Jaitly & Hinton 2015 mark any two steps); other sizes and "
    "RMSprop there"
)
DELAYS = "delays T of 100, 200, 300 and 500 there, 20 here"

FIGURES = (
    Published("adding", "modern", "RNN", "at T=100 stays near the baseline, 0.167", ADDING, OTHERS, (0.167,)),
    Published(
        "adding", "modern", "LSTM", "at T=100 far below the baseline of 0.167, under 0.01", ADDING, OTHERS, (0.01,)
    ),
    Published(
        "adding",
        "1997",
        "LSTM",
        "1 sequence of 2,560 wrong by more than 0.04, after 74,000 sequences",
        f"{HS97}, experiment 4",
        HS97_LSTM,
        (1, 2560, 0.04, 74000),
    ),
    Published(
        "temporal-order",
        "6a",
        "LSTM",
        "1 sequence of 2,560 wrong, after 31,390 sequences",
        f"{HS97}, experiment 6a",
        HS97_LSTM,
        (1, 2560, 31390),
    ),
    Published(
        "reber",
        "embedded",
        "RNN",
        "no Elman net succeeded within 200,000 sequences",
        f"{HS97}, experiment 1",
        "an Elman net's training there sees one step back, ours the whole string",
        (200000,),
    ),
    Published(
        "reber",
        "embedded",
        "LSTM",
        "97% to 100% of the trials succeeded, after 8,440 to 39,740 sequences",
        f"{HS97}, experiment 1",
        HS97_LSTM,
        (8440, 39740),
    ),
    Published(
        "copy",
        "copy",
        "RNN",
        "at the memoryless baseline at T = 100, 200, 300 and 500",
        f"{ASB16}, section 5.1, figure 1",
        DELAYS,
        (100, 200, 300, 500),
    ),
    Published(
        "copy",
        "copy",
        "LSTM",
        "below the memoryless baseline at T = 100 alone, slightly, after long training; at it at 200, 300 and 500",
        f"{ASB16}, section 5.1, figure 1",
        DELAYS,
        (100, 200, 300, 500),
    ),
    Published("digits", "plain", "LSTM", "98.2% on MNIST pixel by pixel", f"{ASB16}, section 5.3", MNIST, (98.2,)),
    Published("digits", "permuted", "LSTM", "88.0% on permuted MNIST", f"{ASB16}, section 5.3", MNIST, (88.0,)),
)
