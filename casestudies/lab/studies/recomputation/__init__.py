"""Activation recomputation: what the backward pass needs is computed again instead of kept."""
