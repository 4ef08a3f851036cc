"""How much of a file is read into memory, so that no file decides it alone: sizes are compared before they are used.

A few kilobytes can unpack to gigabytes, and a header can claim any size. So a file is never larger in memory than
``MAX_FILE``, and what it unpacks to is no more than ``unpacked(size of the file)``.
"""

MiB, GiB = 2**20, 2**30

MAX_FILE = 4 * GiB
# Weights hardly compress; arrays of zeros do, so that a small file may unpack to this much whatever its size.
ALWAYS, RATIO = 256 * MiB, 16


# Names of arrays are paths; a longer one is no name, and would cost time wherever names are matched.
MAX_NAME = 4096


def unpacked(file_size: int) -> int:
    """How many bytes all arrays and texts of a file may have together, once they are unpacked."""
    return min(MAX_FILE, max(ALWAYS, RATIO * file_size))


def in_words(size: int) -> str:
    """A size as errors show it.

    >>> from common.weights.limits import in_words
    >>> in_words(3), in_words(5 * 2**20), in_words(40 * 2**30)
    ('3 bytes', '5 MiB', '40 GiB')
    """
    for unit, name in ((GiB, "GiB"), (MiB, "MiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}" if size < 1000 * unit else f"{size // unit} {name}"
    return f"{size} bytes"
