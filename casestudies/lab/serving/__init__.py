"""A small serving engine: requests arrive, share a model by slots, and leave when they are done."""
