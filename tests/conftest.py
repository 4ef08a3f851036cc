"""What all test processes share, set before a framework starts: one thread each, and what JAX has compiled."""

import atexit
import os
import shutil
import tempfile

from common.parallel import ONE_THREAD

os.environ.update(ONE_THREAD)
# Compilation is most of the time of JAX's tests, and many compile the same program: copies with a planted bug, several
# processes. The first process makes the folder, the others inherit its name; it lasts for this run.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="jax-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
