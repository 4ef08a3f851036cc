"""The conventions of two libraries side by side, from the layouts, and what is lost between them, from converting."""

from collections.abc import Iterable, Iterator, Sequence

from common.conversions.layouts import from_layout, table, to_layout
from common.conversions.parts import BEHIND, BIAS_H, BIAS_X, PROJECTION, ROWS, SUM, XH, H, Layout, Part, X
from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput
from common.model.initial import initial_parameters
from common.model.layout import layer_weights
from common.model.spec import ModelSpec
from common.weights.schemes.layers import reading_notes
from reports.guides.systems import System


def layouts_of(system: System, cell: str) -> list[Layout]:
    """Its layouts of a cell, one for each class or form."""
    names = [name for name in LAYOUTS if name.split(" ")[0] == system.word]
    return [LAYOUTS[name] for name in names if LAYOUTS[name].cell == cell]


def of_cell(cell: str, source: System, target: System) -> Iterator[str]:
    """The table of one cell, and what is lost; a sentence where one of the two has no such cell."""
    left, right = layouts_of(source, cell), layouts_of(target, cell)
    yield f"### {cell}"
    yield ""
    for system, found in ((source, left), (target, right)):
        if not found:
            yield f"{system.title} has none."
            yield ""
    if not left or not right:
        return
    by_owner = {layout.owner: layout for layout in (*right, *left)}
    owners = list(dict.fromkeys(layout.owner for layout in (*left, *right)))
    columns = [by_owner[owner] for owner in owners]
    batches = {layout.owner: system.batch for system, found in ((source, left), (target, right)) for layout in found}
    yield "| | " + " | ".join(owners) + " |"
    yield "|" + " --- |" * (1 + len(columns))
    for label, cells in rows(columns, [batches[layout.owner] for layout in columns]):
        yield f"| {label} | " + " | ".join(cells) + " |"
    yield ""
    for text in _lost(left, right):
        yield f"- {text}"
    yield ""


def rows(layouts: Sequence[Layout], batches: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """A row for each convention: its name, and what each layout does."""
    yield "gates, in order", [_gates(layout) for layout in layouts]
    for label, holds in (
        ("kernel of x", X),
        ("kernel of h", H),
        ("both in one, x first", XH),
        ("projection", PROJECTION),
    ):
        cells = [_arrays(layout, [part for part in layout.parts if part.holds == holds]) for layout in layouts]
        if any(cells):
            yield label, [cell or "–" for cell in cells]
    yield "biases", [_biases(layout) for layout in layouts]
    added = [_added(layout) for layout in layouts]
    if any(added):
        yield "added when it runs", [cell or "nothing" for cell in added]
    negated = ["".join(dict.fromkeys(gate for part in layout.parts for gate in part.negated)) for layout in layouts]
    if any(negated):
        yield "computes 1 - gate", [cell or "–" for cell in negated]
    if any(part.reshaped for layout in layouts for part in layout.parts):
        stored = [any(part.reshaped for part in layout.parts) for layout in layouts]
        yield "numbers of a block", ["those of the matrix before it was transposed" if one else "–" for one in stored]
    options = [", ".join(f"{key}={value}" for key, value in layout.options.items()) for layout in layouts]
    if any(options):
        yield "fixed", [f"`{cell}`" if cell else "–" for cell in options]
    yield "states", [f"({', '.join(layout.state)})" if len(layout.state) > 1 else "h" for layout in layouts]
    yield "axis of the batch", list(batches)
    yield "follows", [layout.source for layout in layouts]


def _gates(layout: Layout) -> str:
    orders = dict.fromkeys(part.gates for part in layout.parts if part.holds in (X, H, XH) and part.gates)
    if not orders:
        return "one block"
    return " ".join("".join(orders)) if all(len(order) == 1 for order in orders) else "; ".join(map(" ".join, orders))


def _arrays(layout: Layout, parts: Iterable[Part]) -> str:
    """Names and shapes, those of the same shape together."""
    shapes = table(layout).shapes
    named: dict[tuple[str, ...], list[str]] = {}
    for part in parts:
        named.setdefault(shapes[part.name], []).append(f"`{part.name}`")
    return "; ".join(f"{', '.join(names)} ({', '.join(shape)})" for shape, names in named.items())


def _biases(layout: Layout) -> str:
    words = {
        BIAS_X: "that of x",
        BIAS_H: "that of h",
        SUM: "the sum of both",
        BEHIND: "both, that of x first",
        ROWS: "both as rows",
    }
    groups: dict[str, list[Part]] = {}
    for part in layout.parts:
        if part.is_bias:
            groups.setdefault(words[part.holds], []).append(part)
    return "; ".join(f"{_arrays(layout, parts)}: {text}" for text, parts in groups.items()) or "none"


def _added(layout: Layout) -> str:
    amounts = {gate: amount for part in layout.parts for gate, amount in part.added.items()}
    return ", ".join(f"{amount:g} to the bias of {gate}" for gate, amount in amounts.items())


def _lost(sources: Sequence[Layout], targets: Sequence[Layout]) -> list[str]:
    """What cannot be kept as it is, from converting random weights."""
    said: dict[str, None] = {}
    for source in sources:
        fitting = [target for target in targets if _form(target) == _form(source)]
        if not fitting:
            said[
                f"{source.owner} ({_words(source)}) cannot become {targets[0].owner} ({_words(targets[0])}): refused."
            ] = None
        for target in fitting[:1]:
            said |= dict.fromkeys(_notes(source, target))
    whole = [text for text in said if not any(more != text and more.startswith(text) for more in said)]
    return [_sentence(text) for text in whole] or ["Nothing is lost."]


def _sentence(text: str) -> str:
    """With a full stop, and a capital letter unless it begins with a name such as flax.linen.LSTMCell."""
    is_name = "." in text.split()[0]
    return (text if is_name else text[0].upper() + text[1:]).removesuffix(".") + "."


def _form(layout: Layout) -> bool:
    return bool(layout.options.get("reset_after", True))


def _words(layout: Layout) -> str:
    where = "after" if _form(layout) else "before"
    return f"r acts {where} the product" if layout.cell == "GRU" else layout.cell


def _notes(source: Layout, target: Layout) -> Iterator[str]:
    yield from reading_notes(next(key for key, value in LAYOUTS.items() if value == source))
    for bias in (True, False):
        if not bias and source.needs_bias:
            continue
        spec = ModelSpec(cell=source.cell, input_size=3, hidden_size=5, bias=bias)
        weights = layer_weights(initial_parameters(spec, 0), "_l0")
        try:
            weights = from_layout(source, to_layout(source._replace(zero=""), weights).params)
            yield from to_layout(target, weights).notes
        except InvalidInput as error:
            yield f"{error}"
    if any(part.holds == PROJECTION for part in source.parts) > any(part.holds == PROJECTION for part in target.parts):
        yield f"{target.owner} has no projection: a layer with one is refused"
    nonlinearity = target.options.get("nonlinearity")
    if nonlinearity and nonlinearity != source.options.get("nonlinearity"):
        yield f"{target.owner} knows {nonlinearity} alone: any other nonlinearity is refused"
