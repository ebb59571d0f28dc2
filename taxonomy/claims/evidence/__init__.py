"""What is claimed of one strategy: sentence, chart and table of its page, from one gathering."""
