"""One search for everything: what a text asks for, and what of each kind it finds."""
