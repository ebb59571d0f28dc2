"""Runs that others made elsewhere and sent: how they come in, and what holds of them here."""
