"""What holds for every test."""

import os

# Tests run side by side, one process a core: more threads only wait for each other (measured: 16 times slower).
os.environ.setdefault("OMP_NUM_THREADS", "1")
