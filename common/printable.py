"""Text that is safe to print: control characters, marks of direction and half characters are escaped."""

import re

# Control characters, marks that change the direction of the text after them, and halves of characters.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "\n") -> str:
    """Text with an escape such as \\x1b for each character that would control a terminal or cannot be written.

    Characters in ``keep`` stay, as do all letters.
    """
    return UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)
