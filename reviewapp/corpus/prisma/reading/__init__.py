"""From the bytes of a file to its numbers: characters, separators, cells, and what is said."""
