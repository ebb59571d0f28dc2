"""Phase splitting: prompts are read on some machines, and answers go on on others."""
