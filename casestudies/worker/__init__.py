"""Carrying runs out: the queue, the worker's loop, the run's process and what it says."""
