"""Fused attention: the scores are made and used up tile by tile, never held at once."""
