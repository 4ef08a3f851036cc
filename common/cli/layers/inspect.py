"""``rosetta inspect``: what is in a file of weights, and what can be done with it."""

import shlex
import textwrap
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from common import records
from common.cli import console
from common.cli.layers import chosen
from common.cli.layers.chosen import WIDTH
from common.cli.options import MODEL_ROWS, Verbs, add_rows, add_verb, named
from common.model.cells import CELLS, TABLE
from common.printable import printable
from common.weights import contents, files
from common.weights.contents import Contents, LayerFacts
from common.weights.layer import ROOT, directions, select
from common.weights.source import Found, WeightsFile
from common.weights.targets import TARGETS

SHOWN_NAMES, SHOWN_LAYERS, SHOWN_NOTES = 3, 40, 12


def add(verbs: Verbs) -> None:
    text = "list the recurrent layers in a file of weights, with their conventions"
    more = (
        "Reads every format of the project by its content and runs nothing that the file says. Exit code 0 means that "
    )
    more += "the file can be read, whether or not it has such a layer."
    parser = add_verb(verbs, "inspect", inspect, text, more)
    parser.add_argument("file", metavar="FILE", help="weights of any framework")
    chosen.add_layer(parser)
    text = f"one of {', '.join(CELLS)}, where the file does not record it"
    parser.add_argument("--cell", type=named(CELLS), metavar="NAME", help=text)
    add_rows(parser, "model", [MODEL_ROWS[name] for name in chosen.OPEN], "what a file may not record")


def inspect(options: Namespace) -> int:
    """Print what a file holds; returns the exit code."""
    file = files.read(options.file, "FILE")
    if options.layer is not None:
        file = file._replace(layers=(select(file, options.layer, **chosen.said(options)),))
    found = contents.contents(file, **({} if options.layer is not None else chosen.said(options)))
    if options.json:
        print(records.dumps(found))
        return 0
    _print(file, found, is_chosen=options.layer is not None)
    return 0


def _print(file: WeightsFile, found: Contents, is_chosen: bool) -> None:
    layers = found["layers"]
    _say(f"{found['file']}: {found['format']}, {_count(found['arrays'], 'array')}, {found['values']:,} values")
    if layers:
        _print_layers(layers)
    else:
        _say("No recurrent layer was found.")
    _print_conventions(layers)
    for layer in layers:
        if layer["problem"]:
            _say(f"cannot be used: {layer['path']}: {layer['problem']}")
    if is_chosen and file.layers:
        chosen.print_arrays(file, file.layers[0])
    else:
        _print_rest(file, found)
    _print_notes(found)
    _print_next(file, found, is_chosen)


def _print_notes(found: Contents) -> None:
    """The notes of the file and of its layers, each once, with the paths of the layers where there are several."""
    paths_of: dict[str, list[str]] = {}
    for layer in found["layers"]:
        for note in layer["notes"]:
            paths_of.setdefault(note, []).append(layer["path"])
    several = len(found["layers"]) > 1
    of_layers = (f"{_listed(paths)}: {note}" if several else note for note, paths in paths_of.items())
    notes = [*found["notes"], *of_layers]
    for note in notes[:SHOWN_NOTES]:
        _say(f"note: {note}")
    if len(notes) > SHOWN_NOTES:
        _say(f"... and {len(notes) - SHOWN_NOTES} more notes; --json has all of them")


def _print_layers(layers: Sequence[LayerFacts]) -> None:
    """A table that fits 80 columns where no path is long."""
    projected = any(layer["proj_size"] for layer in layers)
    columns = ["layer", "cell", "input", "hidden", "layers", "biases", "dtype"]
    if projected:
        columns.insert(4, "projected")
    rows = []
    for layer in layers[:SHOWN_LAYERS]:
        sizes = [layer["input_size"], layer["hidden_size"], *([layer["proj_size"]] if projected else [])]
        cells = [str(size or "") for size in sizes]
        depth = f"{layer['num_layers']} × 2" if layer["directions"] == 2 else str(layer["num_layers"] or "")
        rows.append((layer["path"], layer["cell"], *cells, depth, layer["biases"], layer["dtype"]))
    numeric = ("input", "hidden", "projected", "layers")
    console.table("recurrent layers", columns, rows, numeric=numeric, width=WIDTH)
    if len(layers) > SHOWN_LAYERS:
        _say(f"... and {len(layers) - SHOWN_LAYERS} more; --json has all of them")
    if any(layer["directions"] == 2 for layer in layers):
        _say("× 2: in both directions.")
    if any(layer["path"] == ROOT for layer in layers):
        _say(f"{ROOT} is the layer whose arrays have no path before their names.")


def _print_conventions(layers: Iterable[LayerFacts]) -> None:
    """The conventions of every class that a layer has, each once."""
    paths_of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for layer in layers:
        paths_of.setdefault((layer["owner"], tuple(layer["conventions"])), []).append(layer["path"])
    for (owner, conventions), paths in paths_of.items():
        who = f" ({_listed(paths)})" if len(paths_of) > 1 else ""
        _say(f"as {owner}{who}: {'; '.join(conventions)}.")


def _print_rest(file: WeightsFile, found: Contents) -> None:
    """What does not recur, what is not recognised, and what was not read."""
    kinds = {"not recurrent": "others", "an optimiser's state": "optimiser", "random states": "random"}
    for what, kind in kinds.items():
        others = found[kind]
        if others["count"]:
            left = f"{_count(others['count'], 'array')}, {others['values']:,} values: {_listed(others['names'])}"
            _say(f"{what}: {left}")
    of_candidates = {name for layer in found["candidates"] for name in layer["arrays"]}
    left = [name for name in found["unrecognised"] if name not in of_candidates]
    if left:
        text = "arrays of a recurrent layer by their names, which fit no layout that is known"
        _say(f"not recognised: {text}: {_listed(left)}")
    if found["candidates"]:
        _print_candidates(file, found["candidates"])
    skipped = list(found["skipped"].items())
    for name, reason in skipped[:SHOWN_NOTES]:
        _say(f"not read: {name}: {reason}")
    if len(skipped) > SHOWN_NOTES:
        _say(f"... and {len(skipped) - SHOWN_NOTES} more that were not read; --json has all of them")


def _print_candidates(file: WeightsFile, layers: Sequence[dict[str, Any]]) -> None:
    """What may be layers under names that no system has, and the Python that saves them under torch.nn's."""
    for layer in layers[:SHOWN_LAYERS]:
        arrays = ", ".join(f"{name} {file.params[name].shape}" for name in layer["arrays"])
        _say(f"not recognised: by names and shapes, {arrays} may be of one {layer['cell']}")
    orders = {layer["cell"]: ", ".join(TABLE[layer["cell"]].letters) for layer in layers}
    said = [f"of {cell} stand in the order {order}" for cell, order in orders.items() if order]
    condition = f", if the gates {' and '.join(said)}" if said else ""
    _say(f"This saves them under names that are read{condition}:")
    renamed = [item for layer in layers[:SHOWN_LAYERS] for item in layer["renamed"].items()]
    lines = ["import numpy", "from common import weights", f"a = weights.read({str(file.path)!r}).params"]
    lines += ["numpy.savez('renamed.npz', **{", *(f"    {name!r}: {value}," for name, value in renamed), "})"]
    for line in lines:
        console.line(f"  {printable(line, '')}")


def _print_next(file: WeightsFile, found: Contents, is_chosen: bool) -> None:
    """Commands that go on from here, with the names of the file."""
    usable = [layer for layer in found["layers"] if not layer["problem"]]
    if not usable:
        return
    for path in found["stacks"][:SHOWN_NAMES] if not is_chosen else ():
        text = f"by their sizes, {_listed(path)} may stand above one another"
        _say(f"hint: {text}; {shlex.join(['--layer', '+'.join(path)])} takes them as one")
    for path in found["pairs"][:SHOWN_NAMES] if not is_chosen else ():
        text = f"{_listed(path)} have equal sizes; if they are the directions of one layer"
        _say(f"hint: {text}, {shlex.join(['--layer', ','.join(path)])} takes them as one")
    layer = usable[0]
    one = [] if len(usable) == 1 and not is_chosen else ["--layer", layer["path"]]
    name = found["file"]
    whole: Found = (file.layers or ())[found["layers"].index(layer)]
    several = layer["num_layers"] * layer["directions"] > 1
    single = ["--layer", f"{layer['path']}:{directions(whole)[-1]}"] if several else one
    commands = [["check", name, *one], ["describe", name, *one]]
    commands += [["trace", name, *single]] if not layer["proj_size"] else []
    commands += [["convert", name, *one, "--to", "FORMAT", "--out", "OUT"]]
    console.line("next:")
    for words in commands:
        console.line(f"  {printable(chosen.command(words), '')}")
    _say(f"FORMAT is one of {', '.join(TARGETS)}.")


def _listed(names: Sequence[str], most: int = SHOWN_NAMES) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _say(text: str) -> None:
    """A paragraph on stdout that fits 80 columns; names are not broken."""
    text = printable(text, "")
    options = {"subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
    console.line(textwrap.fill(text, WIDTH, **options))
