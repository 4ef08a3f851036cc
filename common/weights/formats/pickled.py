"""Pickles, as people save Haiku's trees: refused, since reading one runs whatever it names."""

from typing import NoReturn

from common.weights.source import Source, Unusable

WAY_OUT = (
    "where you trust it, load it and save its arrays: "
    'np.savez("OUT.npz", **{f"{module}/{name}": x for module, tree in params.items() for name, x in tree.items()})'
)


def fits(source: Source) -> bool:
    """A file that begins as a pickle of protocol 2 to 5 does, and ends as one."""
    data = source.data
    return data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data[-1:] == b"."


def read(source: Source) -> NoReturn:
    raise Unusable(f"a pickle, which runs code when it is read; {WAY_OUT}")
