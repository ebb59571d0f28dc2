"""Fault tolerance: ranks are lost, and training goes on."""
