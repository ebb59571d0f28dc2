"""Gradients and weights are made smaller before they are sent, and the training is watched."""
