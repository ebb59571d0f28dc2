"""Frameworks, libraries and systems, and what is reported of each."""
