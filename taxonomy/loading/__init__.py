"""The fixtures: their shape, reading them, writing them to the database."""
