"""The public HTTP contract, tested through a socket by a client that knows nothing else."""
