"""Compiled log-densities of one flat vector: value, gradient, products, sparsity, batches."""
