"""Data parallelism whose ranks keep a share of weights, gradients and optimizer state each."""
