"""The command line. It submits the same specs as the pages and reads the same store.

Every command takes ``--json`` for machines. Commands that compute wait with a progress bar unless ``--detach`` is
given, and exit with 0 only on success. An error is one sentence on stderr.
"""

from seqrl.cli.app import app, main

__all__ = ["app", "main"]
