"""A process that helps to collect a dataset: ``python -m seqrl.worker.shard HOME SPEC``, see `seqrl.worker.shards`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from seqrl.config import DatasetSpec
from seqrl.datasets.collection import Collector
from seqrl.jobs.helpers import serve
from seqrl.store import Store
from seqrl.worker.dataset import run_policies
from seqrl.worker.shards import played


def main(arguments: Sequence[str]) -> int:
    """Play the pieces that are asked for, until there are no more."""
    spec = DatasetSpec.model_validate_json(arguments[1])
    collector = Collector(spec, policies=run_policies(Store(Path(arguments[0])), spec))
    serve(lambda piece_json: played(collector, piece_json))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
