"""`python -m benchmarks`."""

from __future__ import annotations

import sys

from benchmarks.guarded_vs_raw import main

if __name__ == "__main__":
    sys.exit(main())
