"""seqrl against what people would use instead, side by side in one run: ``python -m benchmarks``."""
