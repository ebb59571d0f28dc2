"""Publications, strategies, quantities and claims in the API."""
