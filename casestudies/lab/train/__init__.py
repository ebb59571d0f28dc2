"""Training of small models within a run."""
