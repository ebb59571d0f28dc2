"""What only a GPU answers: GPTQ's hours, columns in another order, and a model that decodes."""
