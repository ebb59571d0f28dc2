"""What a piece of work costs, on which machine, and how good a model is."""
