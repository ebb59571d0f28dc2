"""A mixture of experts: each token goes through one of several feed-forward networks."""
