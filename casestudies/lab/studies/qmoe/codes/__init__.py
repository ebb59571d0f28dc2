"""How ternary weights are stored in less than their plain bits."""
