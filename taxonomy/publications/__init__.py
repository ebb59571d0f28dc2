"""The list of publications, its facets and its exports, and a page for each."""
