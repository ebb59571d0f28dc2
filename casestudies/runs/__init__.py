"""One run: asking for it, watching it, its page and its files."""
