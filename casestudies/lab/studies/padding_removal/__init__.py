"""Padding removal: a batch of texts of different lengths as one row of tokens."""
