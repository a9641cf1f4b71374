"""The likelihood with its latents integrated out: Laplace, quadrature, sparse Cholesky."""
