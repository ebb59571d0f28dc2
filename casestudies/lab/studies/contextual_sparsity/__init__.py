"""For each token a predictor says which neurons and heads are worth computing."""
