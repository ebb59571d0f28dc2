"""The taxonomy: gap map and tree, and a page for each strategy."""
