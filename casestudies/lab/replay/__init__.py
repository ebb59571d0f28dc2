"""Orders of events, carried out on paper."""
