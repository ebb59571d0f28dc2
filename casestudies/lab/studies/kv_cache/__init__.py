"""A key-value cache: keys and values of past tokens are kept, not computed again."""
