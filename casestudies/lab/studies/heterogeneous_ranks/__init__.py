"""Ranks of unlike speed: work is shared out by what each can do, not evenly."""
