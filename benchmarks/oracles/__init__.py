"""Slow and plain programs whose answers are known to be right; tests and benchmarks ask them."""
