"""What a job's process does: the only place that joins collecting, training and measuring to the store.

``python -m seqrl.worker HOME JOB LOCK`` carries out one job. Each kind is a module here that imports what it needs.
"""
