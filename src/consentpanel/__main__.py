"""Runs the command line: `python -m consentpanel`."""

import sys

from consentpanel._cli import main

if __name__ == "__main__":
    sys.exit(main(program="python -m consentpanel"))
