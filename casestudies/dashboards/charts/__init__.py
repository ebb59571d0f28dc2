"""From points of runs to charts: which are drawn, what beats the others, how they look."""
