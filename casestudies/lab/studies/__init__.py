"""The case studies, a folder each; `catalogue.py` lists them."""
