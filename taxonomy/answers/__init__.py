"""Questions that a visitor brings, answered from the claims and from what was measured here."""
