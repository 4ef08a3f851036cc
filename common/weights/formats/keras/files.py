"""Keras' files: archives (``.keras``), weights of Keras 3 (``.weights.h5``), and the HDF5 files of Keras 2.

What the configuration records decides the layers; cells that it does not record (those of a model class of the user's,
or in a file without a configuration) are found by their names. Other HDF5 files are read as arrays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from common.model.spec import STEP_OPTIONS
from common.weights import schemes
from common.weights.formats.keras import configuration, hdf5
from common.weights.formats.keras.configuration import Configuration, Recorded
from common.weights.formats.keras.tree import Tree
from common.weights.schemes import keras, layers
from common.weights.source import Found, Source, Unusable, WeightsFile, Where

WEIGHTS, CONFIGURATION = "model.weights.h5", "config.json"
# The group of the layers of Keras 2's files, and that of the layers of a model in archives of Keras 2.12 and 2.13.
MODEL, EARLY = "model_weights", "_layer_checkpoint_dependencies"
# Other ways in which Keras stores the weights of an archive.
ELSEWHERE = {"model.weights.npz": "as .npz", "model.weights.json": "in several files"}
NO_CHECKSUMS = "HDF5 files have no checksums: damage to the numbers goes unnoticed"


def fits(source: Source) -> bool:
    if source.entries is None:
        return source.data.startswith(hdf5.MAGIC)
    return CONFIGURATION in source.entries and "metadata.json" in source.entries


def read(source: Source) -> WeightsFile:
    """Raises ``Unusable`` for a damaged file, and ``BackendMissing`` without h5py."""
    if source.entries is None:
        return _hdf5(source)
    for name, how in ELSEWHERE.items():
        if name in source.entries:
            raise Unusable(f"a Keras archive whose weights are stored {how}; save it with model.save(path)")
    if WEIGHTS not in source.entries:
        raise Unusable(f"a Keras archive without {WEIGHTS}")
    tree = hdf5.read(source.path, source.entries[WEIGHTS]).in_order("")
    recorded = configuration.parse(source.entries[CONFIGURATION])
    found, missing = _of_keras3(tree, recorded)
    made = _file(source, "Keras archive (.keras)", tree, found, recorded.notes, missing)
    version = re.search(rb'"keras_version": *"([\w.+-]{1,40})"', source.entries["metadata.json"])
    return made._replace(about={"keras_version": version[1].decode()} if version else {})


def _hdf5(source: Source) -> WeightsFile:
    tree = hdf5.read(source.path, source.data)
    about = tree.attributes.get("", {})
    tree = tree.in_order(MODEL if "model_config" in about else "")
    if "model_config" in about:
        recorded = configuration.parse(_text(about["model_config"]))
        found, missing = _of_keras2(tree, recorded)
        return _file(source, "Keras HDF5 model", tree, found, (*recorded.notes, NO_CHECKSUMS), missing)
    if "layer_names" in about or "layer_names0" in about:
        is_old = _is_old(about.get("keras_version"))
        found = list(keras.find(tree.arrays, is_old=is_old))
        return _file(source, "Keras HDF5 weights", tree, found, (NO_CHECKSUMS,), {})
    if any(keras.NUMBERED.fullmatch(name) for name in tree.arrays):
        found = list(keras.find(tree.arrays, _labels(tree)))
        return _file(source, "Keras weights (.weights.h5)", tree, found, (NO_CHECKSUMS,), {})
    return _file(source, "HDF5", tree, schemes.find(tree.arrays), (NO_CHECKSUMS,), {})


def _file(
    source: Source,
    name: str,
    tree: Tree,
    found: Sequence[Found],
    notes: tuple[str, ...],
    missing: Mapping[str, str],
) -> WeightsFile:
    root = {key: value for key, value in tree.attributes.get("", {}).items() if key in ("keras_version", "backend")}
    return WeightsFile(
        path=source.path,
        format=name,
        params=tree.arrays,
        about=root,
        notes=notes,
        layers=tuple(found),
        skipped=tree.skipped | dict(missing),
    )


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def _is_old(version: str | list[str] | None) -> bool:
    """Whether this is a version before 2.3; TensorFlow's own begin in the same way."""
    match = re.match(r"(\d+)\.(\d+)", _text(version or "1.0"))
    return match is None or (int(match[1]), int(match[2])) < (2, 3)


def _labels(tree: Tree) -> dict[str, str]:
    """Group -> the name of the layer, which Keras attaches to the group of its own variables."""
    labels = {path.removesuffix("/vars"): texts.get("name") for path, texts in tree.attributes.items()}
    return {path: label for path, label in labels.items() if isinstance(label, str) and path}


def _of_keras3(tree: Tree, recorded: Configuration) -> tuple[list[Found], dict[str, str]]:
    """The layers of the configuration, then those that only the groups show; and what the groups lack."""
    found: list[Found] = []
    missing: dict[str, str] = {}
    is_early = any(name.startswith(f"{EARLY}/") for name in tree.arrays)
    for layer in recorded.layers:
        where: Where = {}
        for slot in layer.slots:
            group = re.sub(r"(^|/)layers/", rf"\1{EARLY}/", slot.group) if is_early else slot.group
            names = {part: f"{group}/vars/{k}" for k, part in enumerate(keras.PARTS)}
            where[slot.suffix] = {part: name for part, name in names.items() if name in tree.arrays}
        _add(layer, where, tree, found, missing)
    return found + _by_names(tree, found, _labels(tree)), missing


def _of_keras2(tree: Tree, recorded: Configuration) -> tuple[list[Found], dict[str, str]]:
    """As ``_of_keras3``; a layer of the whole model lists its arrays, and in it, the cells follow one another."""
    found: list[Found] = []
    missing: dict[str, str] = {}
    tops = {slot.top for layer in recorded.layers for slot in layer.slots}
    cells_of = {top: list(_cells(tree, f"{MODEL}/{top}")) for top in tops}
    for layer in recorded.layers:
        if any(len(cells_of[slot.top]) != recorded.cells[slot.top] for slot in layer.slots):
            missing[layer.name] = "the file lists other arrays for it than its configuration has"
            continue
        where: Where = {slot.suffix: cells_of[slot.top][slot.number] for slot in layer.slots}
        _add(layer, where, tree, found, missing)
    return found + _by_names(tree, found, {}), missing


def _by_names(tree: Tree, found: Sequence[Found], labels: Mapping[str, str]) -> list[Found]:
    taken = {name for layer in found for name in layer.names}
    return list(keras.find({name: value for name, value in tree.arrays.items() if name not in taken}, labels))


def _cells(tree: Tree, group: str) -> Iterator[dict[str, str]]:
    """The cells among the arrays of a layer, in the order in which Keras lists them: each begins with a kernel."""
    cell: dict[str, str] = {}
    for name in [*tree.listed(group, "weight_names"), "kernel"]:
        match = keras.NAMED.fullmatch(name)
        if match and match[2] == "kernel":
            if "recurrent_kernel" in cell:
                yield cell
            cell = {}
        if match and f"{group}/{name}" in tree.arrays:
            cell[match[2]] = f"{group}/{name}"


def _add(layer: Recorded, where: Where, tree: Tree, found: list[Found], missing: dict[str, str]) -> None:
    if not any(where.values()):
        missing[layer.name] = "its arrays are not in the file; a layer that is shared, or not built?"
    elif layer.problem:
        found.append(Found(layer.name, layer.layout, where, None, {}, layer.notes, layer.problem))
    else:
        one = layers.found(layer.name, layer.layout, where, tree.arrays, **layer.options)
        found.append(one._replace(notes=one.notes + layer.notes, recorded=frozenset({"cell", *STEP_OPTIONS})))
