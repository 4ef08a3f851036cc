"""``python -m reports.guides`` writes the guides."""

import sys
from pathlib import Path

from reports.guides import pages

print(*pages.write(Path(sys.argv[1]) if len(sys.argv) > 1 else pages.FOLDER), sep="\n")
