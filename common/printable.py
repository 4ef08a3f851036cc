"""Text that is safe to print: control characters, marks of direction and half characters are escaped."""

import re
import textwrap

# Control characters, marks that change the direction of the text after them, and halves of characters.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# How a terminal is told to change colours and the like.
COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def printable(text: str, keep: str = "\n") -> str:
    """Text with an escape such as \\x1b for each character that would control a terminal or cannot be written.

    Characters in ``keep`` stay, as do all letters.
    """
    return UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def plain_line(text: str, limit: int = 200) -> str:
    """What another program says, on one line, without its colours; a long text ends with a whole word and "..."."""
    return textwrap.shorten(COLOURS.sub("", text), limit + 4, placeholder=" ...")
