"""Which claims a run could speak to, and what came of each that was tried here."""
