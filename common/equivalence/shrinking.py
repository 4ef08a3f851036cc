"""The simplest variant that still fails as a drawn one did: fewer options and smaller sizes, one change at a time."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from common.equivalence.variants import DEFAULTS, Variant
from common.model.spec import DROPOUTS


def shrink(variant: Variant, fails: Callable[[Variant], bool], trials: int = 200) -> Variant:
    """The simplest variant found that still fails: every change that keeps the failure is kept, until none does."""
    while True:
        for simpler in simplifications(variant):
            trials -= 1
            if trials < 0:
                return variant
            if fails(simpler):
                variant = simpler
                break
        else:
            return variant


def simplifications(variant: Variant) -> Iterator[Variant]:
    """Variants one change simpler, the largest changes first; sizes go to 2 before they go to 1."""
    spec = variant.spec
    for name in ("proj_size", "bidirectional", *DROPOUTS, "nonlinearity", "reset_after", "bias"):
        if getattr(spec, name) != DEFAULTS[name]:
            yield replace(variant, spec=replace(spec, **{name: DEFAULTS[name]}))
    for name, simple in (
        ("regime", "plain"),
        ("lengths", None),
        ("mask", None),
        ("given_state", False),
        ("training", True),
    ):
        if getattr(variant, name) != simple:
            yield replace(variant, **{name: simple})
    if variant.lengths and 0 in variant.lengths:
        yield replace(variant, lengths=tuple(max(length, 1) for length in variant.lengths))
    if variant.lengths and max(variant.lengths) > 1:
        yield replace(variant, lengths=(1,) * variant.batch)
    yield from _simpler_masks(variant)
    for name, value in (
        ("num_layers", spec.num_layers),
        ("hidden_size", spec.hidden_size),
        ("input_size", spec.input_size),
    ):
        for less in _less(value):
            if name != "hidden_size" or less > spec.proj_size:
                extra = {"dropout": 0.0} if name == "num_layers" and less == 1 else {}
                yield replace(variant, spec=replace(spec, **{name: less}, **extra))
    for less in _less(variant.steps):
        lengths = variant.lengths and tuple(min(length, less) for length in variant.lengths)
        mask = variant.mask and tuple(word[:less] for word in variant.mask)
        yield replace(variant, steps=less, lengths=lengths, mask=mask)
    for less in _less(variant.batch):
        lengths, mask = (given and given[:less] for given in (variant.lengths, variant.mask))
        yield replace(variant, batch=less, lengths=lengths, mask=mask)


def _simpler_masks(variant: Variant) -> Iterator[Variant]:
    """One step of padding on the left, in all sequences; else one hole, in all of them; else one hole less in one."""
    steps, batch = variant.steps, variant.batch
    padded, holed = ("0" + "1" * (steps - 1),) * batch, ("10" + "1" * (steps - 2),) * batch
    if not variant.mask or variant.mask == padded:
        return
    yield replace(variant, mask=padded)
    if steps > 2 and variant.mask != holed:
        yield replace(variant, mask=holed)
        for place, word in enumerate(variant.mask):
            for step, letter in enumerate(word):
                if letter == "0":
                    fuller = word[:step] + "1" + word[step + 1 :]
                    yield replace(variant, mask=(*variant.mask[:place], fuller, *variant.mask[place + 1 :]))


def _less(value: int) -> Iterator[int]:
    yield from (less for less in (2, 1) if less < value)
