"""What is proved about the weights in a user's file.

``subject`` names a layer of a file, ``recorded`` reads the inputs and outputs that the user recorded, and ``problems``
makes the problem on which the layer is checked. ``trials`` compares every backend, the library that owns the format and
what was recorded on it. ``diagnosis`` describes a failure, and ``causes`` says which known mistake would explain a
recorded output. ``outcome`` is the verdict. ``limits`` turns bounds into the tolerances of testing libraries.
"""

from common.proof.subject import Subject, open_subject
from common.proof.trials import Trial, trials

__all__ = ["Subject", "Trial", "open_subject", "trials"]
