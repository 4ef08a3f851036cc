"""What was published on the tasks, beside which the study puts its own figures."""

from typing import NamedTuple


class Published(NamedTuple):
    """A figure as it was published, where, and what differs in the set-up from ours."""

    task: str
    reading: str
    cell: str
    figure: str
    source: str
    differs: str


HS97 = "Hochreiter & Schmidhuber 1997"
HS97_LSTM = "their LSTM has no forget gate, truncates its gradients, and learns from one sequence at a time by SGD"
ASB16 = "Arjovsky, Shah & Bengio 2016"
MNIST = "784 steps and 60,000 images there, 64 steps and 1,197 images here: the small sibling, not the same task"
LARGER = "128 units and RMSprop there, 32 units and Adam here"
DELAYS = "delays of 100 and more there, 20 here"

FIGURES = (
    Published("adding", "modern", "RNN", "stays near 0.167 at T=100", f"{ASB16}, section 5.2", LARGER),
    Published("adding", "modern", "LSTM", "far below 0.167 (under 0.01) at T=100", f"{ASB16}, section 5.2", LARGER),
    Published(
        "adding", "1997", "LSTM", "1 sequence of 2,560 wrong by 0.04, after 74,000", f"{HS97}, experiment 4", HS97_LSTM
    ),
    Published(
        "temporal-order", "6a", "LSTM", "1 sequence of 2,560 wrong, after 31,390", f"{HS97}, experiment 6a", HS97_LSTM
    ),
    Published(
        "reber",
        "embedded",
        "RNN",
        "no Elman net succeeded within 200,000 sequences",
        f"{HS97}, experiment 1",
        "an Elman net's training there sees one step back, ours the whole string",
    ),
    Published(
        "reber",
        "embedded",
        "LSTM",
        "97% to 100% of the trials succeeded, after 8,440 to 39,740 sequences",
        f"{HS97}, experiment 1",
        HS97_LSTM,
    ),
    Published("copy", "copy", "RNN", "stays at the memoryless baseline", f"{ASB16}, section 5.1", DELAYS),
    Published("copy", "copy", "LSTM", "hardly below the memoryless baseline", f"{ASB16}, section 5.1", DELAYS),
    Published("digits", "plain", "LSTM", "98.2% on MNIST pixel by pixel", f"{ASB16}, section 5.3", MNIST),
    Published("digits", "permuted", "LSTM", "88.0% on permuted MNIST", f"{ASB16}, section 5.3", MNIST),
)
