"""Speculative decoding: a cheap draft proposes tokens, the model checks them in one pass."""
