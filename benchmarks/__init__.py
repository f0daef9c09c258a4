"""seqrl against what people would use instead, side by side in one run: ``python -m benchmarks``."""

import os

# As in the workers: threads that wait sleep instead of keeping a core from others. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
