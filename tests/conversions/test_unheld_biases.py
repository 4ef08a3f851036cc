"""The bias of h that a system's GRU has no place for: refused if it is not zero, and only then."""

import re

import numpy as np
import pytest

from common.conversions.layouts import from_layout, to_layout
from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput
from common.model.layout import Weights

I, H = 3, 2
LAYOUT = LAYOUTS["nnx GRU"]


def weights(of_new: float) -> Weights:
    """Random, with one number of bias_hh in the block of n; those of r and z are not zero."""
    rng = np.random.default_rng(0)
    bias_hh = np.concatenate([rng.standard_normal(2 * H), [0, of_new]])
    of_x, of_h, bias_ih = (rng.standard_normal(shape) for shape in ((3 * H, I), (3 * H, H), (3 * H,)))
    return Weights(of_x, of_h, bias_ih, bias_hh)


def test_a_bias_that_has_no_place_is_refused() -> None:
    with pytest.raises(InvalidInput, match=re.escape("expected zeros, got values up to 1e-30")):
        to_layout(LAYOUT, weights(1e-30))


def test_the_biases_of_the_other_gates_are_added() -> None:
    w = weights(0)
    back = from_layout(LAYOUT, to_layout(LAYOUT, w).params)
    assert w.bias_ih is not None
    assert w.bias_hh is not None
    assert np.array_equal(back.weight_hh, w.weight_hh)
    assert np.array_equal(back.bias_ih + back.bias_hh, w.bias_ih + w.bias_hh)
