"""A pruned model is trained with state for the weights that are left, and none for the others."""
