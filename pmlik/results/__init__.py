"""Records that are returned and everything they are shown as. Computes no statistics."""
