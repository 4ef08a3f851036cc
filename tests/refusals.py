"""The form of every refusal: what is refused, what was expected, what came instead and, where it is known, why."""

import re


def assert_refusal(text: str, argument: str, expected: str = "", got: str = "", cause: str = "") -> None:
    """``text`` is one line in the form of ``errors.mismatch`` about ``argument``, with these words in its parts.

    The wording around them is free to improve.
    """
    form = rf"{re.escape(argument)}: expected .*{re.escape(expected)}.*, got .*{re.escape(got)}.*"
    form += rf"; .*{re.escape(cause)}.*" if cause else ""
    assert re.fullmatch(form, text), f"{text!r} is not of the form {form!r}"
