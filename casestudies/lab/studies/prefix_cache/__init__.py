"""Prefix cache: what several prompts begin with is read once."""
