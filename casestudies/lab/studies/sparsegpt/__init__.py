"""Case study: one-shot pruning of a language model (SparseGPT), beside two simpler methods."""
