"""Read a pm.Model: validation, roles, latents, refusals; a model in, a model out."""
