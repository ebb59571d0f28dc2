"""Chunked prefill: long prompts are read in pieces, beside the answers of others."""
