"""Offloading: weights, caches and optimizer lie on the host, and come to the device when needed."""
