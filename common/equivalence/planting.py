"""Copies of an implementation with a planted fault, to show that a check, or a reader, can find it."""

import itertools
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from common.errors import InvalidInput, mismatch

ROOT = Path(__file__).parents[2]
counter = itertools.count()


@contextmanager
def planted(*changes: tuple[str, str, str]) -> Iterator[str]:
    """The import name of a copy of a package, within the block, in which each replacement (file, old, new) has been
    made.

    A file is given as "numpy_impl/unroll", and ``old`` must occur in it exactly once.
    """
    packages = sorted({file.partition("/")[0] for file, _, _ in changes})
    if len(packages) != 1:
        raise InvalidInput(mismatch("changes to plant", "files of one package", ", ".join(packages) or "none"))
    name = f"{packages[0]}_planted{next(counter)}"
    with TemporaryDirectory() as folder:
        copy = Path(folder) / name
        shutil.copytree(ROOT / packages[0], copy, ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in changes:
            source = copy / f"{file.partition('/')[2]}.py"
            text = source.read_text(encoding="utf-8")
            if (count := text.count(old)) != 1:
                raise InvalidInput(mismatch(f"text to replace in {file}.py", f"{old!r} once", f"it {count} times"))
            source.write_text(text.replace(old, new), encoding="utf-8")
        sys.path.insert(0, folder)
        try:
            yield name
        finally:
            sys.path.remove(folder)
            for module in [module for module in sys.modules if module.partition(".")[0] == name]:
                del sys.modules[module]
