"""Paged key-value cache: memory in blocks that texts take as they grow, and share as they fork."""
