"""One sequence shared out over ranks: its activations, its attention, its work."""
