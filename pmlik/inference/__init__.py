"""Find the MLE and the MAP, sample the posterior, evaluate the likelihood."""
