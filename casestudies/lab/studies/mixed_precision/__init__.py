"""Mixed precision: 16-bit numbers in the products, float32 where small changes add up."""
