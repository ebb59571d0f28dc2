"""The case studies: their pages, their results beside what publications report."""
