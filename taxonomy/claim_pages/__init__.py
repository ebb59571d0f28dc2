"""The page of each claim, and files of claims."""
