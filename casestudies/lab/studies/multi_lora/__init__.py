"""Many adapters on one model: each request is answered with its own, and all share the weights."""
