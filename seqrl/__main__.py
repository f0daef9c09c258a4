"""``python -m seqrl``: build datasets, train, sweep, render and look after jobs without the browser."""

from __future__ import annotations

import sys

from seqrl.cli import main

if __name__ == "__main__":
    sys.exit(main())
