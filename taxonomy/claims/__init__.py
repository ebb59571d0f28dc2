"""Claims and what the runs of this site found of them."""
