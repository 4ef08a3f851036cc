"""A network around a recurrent model: its inputs, its readout and its loss; frozen, and checked when it is built."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.spec import ModelSpec
from common.model.validate import (
    require_one_of,
    require_positive_int,
)

# What x holds -> what the recurrent layer sees of it.
INPUTS = {
    "features": "x (T, B, I) as it is",
    "one_hot": "symbols x (T, B): row x of the identity, I = the number of symbols",
    "embedding": "symbols x (T, B): row x of a trained table (symbols, I)",
}


class Readout(NamedTuple):
    """What the linear layer sees, with the shape of the prediction; the same in words; the kind of task it suits."""

    sees: str
    text: str
    serves: str


READOUTS = {
    "last_step": Readout(
        "y at the last step of each sequence: (B, O)",
        "the output at the last step",
        "one answer to a whole sequence: a number or a class",
    ),
    "last_sequence": Readout(
        "y of the last sequence in the batch, at every step: (T, O)",
        "the output of the last sequence in the batch, at every step",
        "no kind of task: a mistake with the axes that this project reproduces",
    ),
    "every_step": Readout(
        "y at every step: (T, B, O)",
        "the output at every step",
        "an answer after each element: the next symbol, or a label for each",
    ),
    "final_state": Readout(
        "h_n of the last layer, both directions side by side: (B, O)",
        "the final hidden state, of both directions side by side",
        "one answer to a whole sequence that is read forwards and backwards",
    ),
    "encoder_decoder": Readout(
        "the final state starts a decoder, whose y is read at every step: (T', B, O)",
        "the outputs of a second network, the decoder, which starts from the final state of the first",
        "a sequence in, another of a different length out: translation, spelling",
    ),
}


LOSSES = {
    "mse": "mean of the squared errors",
    "cross_entropy": "mean of -log softmax(prediction)[target]; a target below 0 does not count",
}


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Inputs, a recurrent model, a readout of ``readout_size`` values, and a loss.

    ``vocabulary`` is the number of symbols in x; None for ``features``. ``encoder_decoder`` has a second model of the
    same kind, the decoder, whose symbols are those that are read out.
    """

    model: ModelSpec
    readout_size: int
    readout: str = "last_step"
    loss: str = "mse"
    inputs: str = "features"
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, ModelSpec):
            raise InvalidType(mismatch("model", "a ModelSpec", type(self.model).__name__))
        require_positive_int("readout_size", self.readout_size)
        for name, options in (("readout", READOUTS), ("loss", LOSSES), ("inputs", INPUTS)):
            require_one_of(name, tuple(options), getattr(self, name))
        if self.inputs == "features":
            if self.vocabulary is not None:
                raise InvalidInput(mismatch("vocabulary", "None for features", self.vocabulary))
        else:
            require_positive_int("vocabulary", self.vocabulary)
        if self.inputs == "one_hot" and self.vocabulary != self.model.input_size:
            wanted = f"input_size={self.model.input_size} for one_hot"
            raise InvalidInput(mismatch("vocabulary", wanted, self.vocabulary))
        if self.has_decoder:
            self._require_decoder()

    def _require_decoder(self) -> None:
        for name, only in (("inputs", ("one_hot", "embedding")), ("loss", ("cross_entropy",))):
            if getattr(self, name) not in only:
                raise InvalidInput(mismatch(name, f"{' or '.join(only)} for encoder_decoder", getattr(self, name)))
        if self.model.bidirectional:
            raise InvalidInput(
                mismatch("bidirectional", "False for encoder_decoder, whose decoder has one direction", True)
            )

    @property
    def has_decoder(self) -> bool:
        return self.readout == "encoder_decoder"

    @property
    def decoder(self) -> ModelSpec:
        """The model of the decoder: the encoder's, for the symbols that are read out."""
        return replace(self.model, input_size=self.readout_size) if self.inputs == "one_hot" else self.model

    @property
    def models(self) -> dict[str, ModelSpec]:
        """Every recurrent model of the network, under the prefix of its parameters."""
        return {"rnn": self.model} | ({"decoder": self.decoder} if self.has_decoder else {})

    @property
    def tables(self) -> dict[str, tuple[int, int]]:
        """The shape of every embedding table, under the prefix of its parameter."""
        if self.inputs != "embedding" or self.vocabulary is None:
            return {}
        sizes = {"embedding": self.vocabulary} | ({"decoder_embedding": self.readout_size} if self.has_decoder else {})
        return {name: (symbols, self.model.input_size) for name, symbols in sizes.items()}
