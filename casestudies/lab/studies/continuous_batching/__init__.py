"""Continuous batching: a slot is given to the next request as soon as its owner has left."""
