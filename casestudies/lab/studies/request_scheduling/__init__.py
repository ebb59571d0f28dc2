"""Request scheduling: in which order requests are served, and how much memory is held for them."""
