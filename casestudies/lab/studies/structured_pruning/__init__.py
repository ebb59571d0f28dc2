"""Whole neurons and heads leave a model, so that its matrices get smaller."""
