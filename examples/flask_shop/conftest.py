"""The directory of the shop on the import path, so that `pytest examples/flask_shop` finds it from anywhere."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
