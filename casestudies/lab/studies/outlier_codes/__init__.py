"""Outlier-victim pairs."""
