"""Parts that methods of pruning and rounding share."""
