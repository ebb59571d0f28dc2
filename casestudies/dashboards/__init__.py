"""What the dashboards show of the runs: which may be compared, and how they are drawn."""
