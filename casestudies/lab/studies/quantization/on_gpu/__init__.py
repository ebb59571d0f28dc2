"""What only a GPU answers, at published shapes."""
