"""The mistakes that a reader of the stepper can plant in NumPy's backward pass, and what follows from each."""

from typing import NamedTuple


class Mistake(NamedTuple):
    """In a ``file`` of ``numpy_impl``, ``old`` is replaced by ``new``; ``means`` says what follows from it."""

    key: str
    title: str
    means: str
    file: str
    old: str
    new: str


# In the loop over time, with any cell.
OF_LOOP = (
    Mistake(
        key="dh_next",
        title="drop dh_next: the gradient from later steps is lost",
        means="Each step receives only the gradient of its own loss, and nothing flows back in time. The last step is "
        "still right, because no later step sends anything to it; a check with a single step would not notice the "
        "mistake.",
        file="unroll",
        old="dstate[0] + dy[t]",
        new="dy[t]",
    ),
    Mistake(
        key="sum",
        title="forget the +=: each step's part replaces the sum",
        means="Everything that flows back in time is right, but of the gradient of the weights, only the part that was "
        "computed last, that of step 1, remains. A check with a single step would not notice the mistake.",
        file="unroll",
        old="total = add(total, dw)",
        new="total = dw",
    ),
)
OF_EQUATIONS = {
    "RNN": (
        Mistake(
            key="slope",
            title="forget the slope of tanh",
            means="The gradient passes through the nonlinearity as if it were not there, at every step, including the "
            "last.",
            file="rnn_cell",
            old="da = dh * slope(tape.h)",
            new="da = dh",
        ),
    ),
    "LSTM": (
        Mistake(
            key="dc_next",
            title="drop dc_next: the gradient along the cell state is lost",
            means="The gradient no longer flows back along the cell state, which is the path that an LSTM is built "
            "for; only what flows back through h is left.",
            file="lstm_cell",
            old="dc = dc_next + dh",
            new="dc = dh",
        ),
        Mistake(
            key="slope",
            title="forget the slope of tanh(c)",
            means="The gradient passes through the nonlinearity as if it were not there, at every step, including the "
            "last.",
            file="lstm_cell",
            old="dh * o * (1 - tanh_c * tanh_c)",
            new="dh * o",
        ),
    ),
}


def mistakes(layer: str) -> tuple[Mistake, ...]:
    """Those that can be planted in the equations of this layer, such as "RNN"."""
    return OF_LOOP + OF_EQUATIONS[layer]
