"""`python -m prise` is the command `prise`."""

from __future__ import annotations

import sys

from prise.cli import main

if __name__ == "__main__":
    sys.exit(main())
