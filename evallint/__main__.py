"""`python -m evallint`."""

from __future__ import annotations

import sys

from evallint.adapters.cli import main

if __name__ == "__main__":
    sys.exit(main())
