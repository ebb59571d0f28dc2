"""The taxonomy: tree, chart and gap map, and a page for each strategy."""
