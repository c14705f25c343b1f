"""Representing: token ids to features to outputs. A model is a pure function of (params, inputs)."""
