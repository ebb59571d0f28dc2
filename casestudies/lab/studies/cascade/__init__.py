"""A cascade: a cheap step answers where it is sure, and a large model answers the rest."""
