"""LOMO: each weight is updated within the backward pass, so that no gradient is kept."""
