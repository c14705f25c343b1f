"""Learning as a mapping: a support set to a predictor. One learner, one file."""
