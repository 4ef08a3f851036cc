"""``python -m common.cli`` is the command ``rosetta``."""

import sys

from common.cli import main

sys.exit(main())
