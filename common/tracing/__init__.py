"""Every intermediate of one example, forward and backward, as each implementation computes it.

``trace`` defines an example and its trace; ``examples`` makes examples; ``backends`` traces them in NumPy, JAX and
PyTorch, and by finite differences. ``equations`` and ``watch`` follow the tagged lines of a source file, and
``collect`` turns the values that they assigned into arrays.
"""

from common.tracing.backends import FINITE_DIFFERENCES, TRACED, everything, load
from common.tracing.examples import example
from common.tracing.trace import Example, Step, Trace, require_example

__all__ = ["FINITE_DIFFERENCES", "TRACED", "Example", "Step", "Trace"]
__all__ += ["everything", "example", "load", "require_example"]
