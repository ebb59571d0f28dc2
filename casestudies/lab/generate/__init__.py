"""Continuing a text token by token."""
