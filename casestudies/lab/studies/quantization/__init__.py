"""Case study: weights and activations in few bits."""
