"""Fused layers: elementwise and reduction parts of a training step, fewer passes over memory."""
