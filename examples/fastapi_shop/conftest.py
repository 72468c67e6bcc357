"""The directory of the shop on the import path, so that `pytest examples/fastapi_shop` finds it from anywhere, and a database for it."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
_FOLDER = tempfile.TemporaryDirectory()
os.environ["SHOP_DATABASE"] = f"sqlite+aiosqlite:///{_FOLDER.name}/shop.db"
