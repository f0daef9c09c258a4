"""seqrl against what people would use instead, side by side in one run: ``python -m benchmarks``."""

import os

# As in the workers: threads that wait soon sleep instead of keeping a core from others, and the bits of a product do
# not depend on their number. Read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
