"""Orders of events, carried out on paper, and the most that they bear."""
