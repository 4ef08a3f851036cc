"""TensorFlow 1's names of variables: the scopes, the cell and its variable, ``rnn/lstm_cell/kernel``.

They are found in an ``.npz`` of the variables, with or without ``:0``, as this writes them::

    variables = tf.compat.v1.trainable_variables()
    np.savez("model.npz", **dict(zip([v.name for v in variables], session.run(variables))))

``multi_rnn_cell/cell_0``, ``cell_1``, ... are the layers of a ``MultiRNNCell``; ``fw`` and ``bw`` the directions of
``bidirectional_dynamic_rnn``; ``stack_bidirectional_rnn/cell_0`` a layer of both. A ``MultiRNNCell`` in each direction
is two models, since their outputs are joined after the last layer only. The slots of optimisers end in another name
(``kernel/Adam``) and belong to no layer. Variables do not record the ``forget_bias`` that the cell adds when it runs,
nor its activations: TensorFlow's defaults, 1.0 and tanh, are assumed.

A model is written under the names that TensorFlow gives to the same model (``rnn/lstm_cell``,
``rnn/multi_rnn_cell/cell_0``, ``bidirectional_rnn/fw``, ``stack_bidirectional_rnn/cell_0``), so that its user builds
the graph and loads each variable: ``variable.load(arrays[variable.name.removesuffix(":0")], session)``.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.schemes.layers import found, paired, stack
from common.weights.source import Found, Where

NAME = re.compile(
    r"(?:(?P<scope>.+)/)?(?P<cell>(?P<kind>[A-Za-z_]*_cell)(?:_\d+)?)/"
    r"(?P<part>(?:(?:gates|candidate|projection|candidate/input_projection|candidate/hidden_projection)/)?"
    r"(?:kernel|bias|weights|biases)|w_[fio]_diag|[^/]+/(?:gamma|beta))(?::\d+)?",
    re.DOTALL,
)
# Before TensorFlow 1.2, the variables had other names.
RENAMED = {"weights": "kernel", "biases": "bias"}
KINDS = {
    "basic_rnn_cell": "tf1 RNN",
    "basic_lstm_cell": "tf1 LSTM",
    "lstm_cell": "tf1 LSTM",
    "cudnn_compatible_lstm_cell": "tf1 LSTM, forget_bias=0",
    "lstm_fused_cell": "tf1 LSTM",
    "gru_cell": "tf1 GRU",
    "cudnn_compatible_gru_cell": "tf1 GRU, CuDNN",
}
LEVEL = re.compile(r"(?P<stack>.*?)/?\bcell_(?P<level>\d{1,6})(?P<both>/[^/]+)?", re.DOTALL)
DIRECTION = re.compile(r"(?:(.*)/)?(fw|bw)", re.DOTALL)
FORGET = (
    "the file does not record forget_bias: TensorFlow's default 1.0 is assumed "
    "(for another F, add F - 1 to the block of f in the bias, the third of four)"
)
BACKWARD = "it runs from the last step to the first: reverse the sequences before and the output after"
UNKNOWN = "a {}, whose equations this project does not have"
PEEPHOLES = "it has peepholes ({}), which this project does not have"
NORMED = "it has layer normalisation ({}), which this project does not have"
WRITTEN = {"RNN": "basic_rnn_cell", "LSTM": "lstm_cell", "GRU": "gru_cell"}


def find(arrays: Mapping[str, np.ndarray]) -> Iterator[Found]:
    """Every cell, a stack of them, or both directions; cells of other kinds with the reason why they cannot be used."""
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for name in arrays:
        if match := NAME.fullmatch(name.replace(".", "/")):
            head, _, last = match["part"].rpartition("/")
            part = f"{head}/{RENAMED.get(last, last)}" if head else RENAMED.get(last, last)
            cells.setdefault((match["scope"] or "", match["cell"], match["kind"]), {})[part] = name
    of_keras = {name.rpartition("/")[0] for name in arrays if name.partition(":")[0].endswith("/recurrent_kernel")}
    modules = {
        (scope, cell): _cell(f"{scope}/{cell}".lstrip("/"), kind, parts, arrays)
        for (scope, cell, kind), parts in cells.items()
        if not {f"{scope}/{cell}".lstrip("/")} & of_keras and any("kernel" in part for part in parts)
    }
    yield from _levels(_directions(modules))


def _cell(path: str, kind: str, parts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Found:
    layout, where = KINDS.get(kind.lower(), ""), {"_l0": dict(parts)}
    peepholes = ", ".join(part for part in parts if part.endswith("_diag"))
    normed = ", ".join(part for part in parts if part.endswith(("gamma", "beta")))
    problem = PEEPHOLES.format(peepholes) if peepholes else NORMED.format(normed) if normed else ""
    problem = problem or ("" if layout else UNKNOWN.format(kind))
    if problem:
        return Found(path, layout or "tf1 LSTM", where, None, {}, (), problem)
    layer = found(path, layout, where, arrays)
    return layer._replace(notes=layer.notes + (FORGET,)) if layout == "tf1 LSTM" and not layer.problem else layer


def _directions(modules: Mapping[tuple[str, str], Found]) -> dict[str, Found]:
    """Scope -> its module, where ``fw`` and ``bw`` in one scope are one module of two directions."""
    result: dict[str, Found] = {}
    for (scope, cell), module in modules.items():
        match = DIRECTION.fullmatch(scope)
        outer = (match[1] or "") if match else ""
        forward, reverse = (modules.get((f"{outer}/{name}".lstrip("/"), cell)) for name in ("fw", "bw"))
        if match is None or forward is None or reverse is None:
            result[module.path] = module
            continue
        try:
            result[f"{outer}/{cell}"] = paired(f"{outer}/{cell}".lstrip("/"), forward, reverse)
        except InvalidInput:
            result[module.path] = module
    return result


def _levels(modules: Mapping[str, Found]) -> Iterator[Found]:
    """The modules, where the cells of one stack are one."""
    stacks: dict[str, dict[int, Found]] = {}
    for path, module in modules.items():
        scope = path.rpartition("/")[0]
        match = LEVEL.fullmatch(scope)
        both = module.spec is not None and module.spec.bidirectional
        if match is None or bool(match["both"]) != both:
            stacks.setdefault(f"{path}\0", {})[0] = module
        else:
            stacks.setdefault(match["stack"], {})[int(match["level"])] = module
    for path, layers in stacks.items():
        whole = _stack(path, layers)
        for layer in whole:
            backward = re.search(r"(?:^|/)bw(?:/|$)", layer.path) is not None
            yield layer._replace(notes=layer.notes + (BACKWARD,)) if backward and layer.spec else layer


def _stack(path: str, layers: Mapping[int, Found]) -> tuple[Found, ...]:
    ordered = tuple(layers[level] for level in sorted(layers))
    if sorted(layers) != list(range(len(layers))) or len(ordered) == 1:
        return ordered
    try:
        return (stack(path, ordered),)
    except InvalidInput:
        return ordered


def places(spec: ModelSpec) -> tuple[str, Where]:
    """Raises ``InvalidInput`` for what TensorFlow 1 has no cell for."""
    layer = spec.kind.layer
    if layer not in WRITTEN:
        raise InvalidInput(mismatch("cell", f"one that TensorFlow 1 has ({', '.join(WRITTEN)})", layer))
    if layer == "GRU" and spec.reset_after:
        cause = "TensorFlow 1's GRUCell resets h before the product, torch.nn after it: no weights make them equal"
        raise InvalidInput(mismatch("reset_after", False, True, cause))
    layout, where = f"tf1 {layer}", {}
    parts = [part.name for part in LAYOUTS[layout].parts if spec.proj_size or part.name != "projection/kernel"]
    for row, suffix in enumerate(layer_suffixes(spec)):
        level, direction = divmod(row, spec.num_directions)
        scope = f"bidirectional_rnn/{('fw', 'bw')[direction]}" if spec.bidirectional else "rnn"
        if spec.num_layers > 1:
            outer = f"stack_bidirectional_rnn/cell_{level}/" if spec.bidirectional else ""
            scope = f"{outer}{scope}" if outer else f"rnn/multi_rnn_cell/cell_{level}"
        where[suffix] = {part: f"{scope}/{WRITTEN[layer]}/{part}" for part in parts}
    return layout, where
