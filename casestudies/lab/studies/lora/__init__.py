"""Low-rank adapters: a frozen model is adapted by a product of two small matrices a layer."""
