"""Case study: a mixture of experts below one bit per weight (QMoE), and a denser code for it."""
