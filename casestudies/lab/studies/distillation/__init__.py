"""A model of half the blocks learns to answer as the whole one does."""
