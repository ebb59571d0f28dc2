"""Pipeline parallelism: layers on several ranks, micro-batches that follow each other."""
