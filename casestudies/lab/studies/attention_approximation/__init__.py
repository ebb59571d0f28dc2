"""Attention to part of the past tokens, and with fewer heads: what is saved and what is lost."""
