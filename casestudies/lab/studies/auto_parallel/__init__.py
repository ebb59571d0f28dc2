"""Automatic parallelism: plans of parallel training that are searched, and carried out."""
