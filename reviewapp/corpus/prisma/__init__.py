"""The PRISMA 2020 flow: its numbers, sums, CSV and drawing."""
