"""Citations of publications: BibTeX, RIS, CSL-JSON, tags of a web page, and a line to copy."""
