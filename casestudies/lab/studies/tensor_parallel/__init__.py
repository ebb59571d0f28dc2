"""Tensor parallelism: each matrix of a layer on several ranks, which add up what comes out."""
