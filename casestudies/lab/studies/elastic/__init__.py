"""Elastic scaling: the number of workers changes amid training, and amid serving."""
