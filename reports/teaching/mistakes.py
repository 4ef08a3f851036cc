"""The mistakes that a reader of the stepper can plant in NumPy's backward pass, and what follows from each."""

from typing import NamedTuple

from common.model.spec import ModelSpec


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
    "GRU": (
        Mistake(
            key="path",
            title="drop dh * z: the gradient along the straight path is lost",
            means="The gradient flows back only through the two gates and the candidate. The path on which the state "
            "is kept, which a GRU is built for, sends nothing back.",
            file="gru_cell",
            old="dh * z + dq @",
            new="dq @",
        ),
        Mistake(
            key="candidate",
            title="forget the candidate in the gradient of z",
            means="The update gate decides how much of the state is kept and, at once, how much of the candidate is "
            "taken. Only the first of the two is counted.",
            file="gru_cell",
            old="dh * (h_prev - n) * z",
            new="dh * h_prev * z",
        ),
    ),
    "LSTM1997": (
        Mistake(
            key="dc_next",
            title="drop dc_next: the gradient along the cell state is lost",
            means="The cell state hands its gradient on unchanged, the constant error carousel; without it only what "
            "flows back through h is left.",
            file="lstm1997_cell",
            old="dc = dc_next + dh",
            new="dc = dh",
        ),
        Mistake(
            key="truncated",
            title="send nothing back to h: the truncated gradient of the paper",
            means="The paper of 1997 computes this on purpose: what reaches the gates and the candidate goes to the "
            "weights and stops there, and only the cell state carries the error back in time. It costs less to "
            "compute, and it is not the gradient. The last step is still right.",
            file="lstm1997_cell",
            old="dh_prev = da @ w.weight_hh",
            new="dh_prev = 0 * da @ w.weight_hh",
        ),
    ),
}
# In a GRU, with the reset gate after the product or before it.
OF_RESET = {
    True: (
        Mistake(
            key="reset",
            title="forget r on the way back from the candidate",
            means="The reset gate scales what the candidate takes from the state, but the gradient on its way back is "
            "not scaled: too much of it arrives in the recurrent weights, in the inner bias, and in the previous "
            "state.",
            file="gru_cell",
            old="dq_n = da_n * r if reset_after",
            new="dq_n = da_n if reset_after",
        ),
        Mistake(
            key="bias",
            title="give both biases the same gradient, as in an RNN or an LSTM",
            means="In most cells only the sum of the two biases matters, so both have the same gradient. In the "
            "candidate of a GRU the reset gate scales one of them. Nothing else depends on this line, and if r "
            "is close to one, the mistake is hard to see.",
            file="gru_cell",
            old="np.concatenate([dq, dq_n], axis=1).sum(axis=0)",
            new="da.sum(axis=0)",
        ),
    ),
    False: (
        Mistake(
            key="reset",
            title="forget r on the way back to the state",
            means="The reset gate scales the state before the product, but the gradient on its way back is not scaled: "
            "too much of it arrives in the previous state.",
            file="gru_cell",
            old="ds if reset_after else ds * r",
            new="ds",
        ),
    ),
}


def mistakes(spec: ModelSpec) -> tuple[Mistake, ...]:
    """Those that can be planted in the equations of this cell."""
    layer = spec.kind.layer
    return OF_LOOP + OF_EQUATIONS[layer] + (OF_RESET[spec.reset_after] if layer == "GRU" else ())
