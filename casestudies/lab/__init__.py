"""The case studies' experiments: pure PyTorch, with no knowledge of the site or its database."""
