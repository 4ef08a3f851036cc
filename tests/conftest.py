"""Small arrays, several test processes: one thread each, set before a framework starts its own."""

import os

from common.parallel import ONE_THREAD

os.environ.update(ONE_THREAD)
