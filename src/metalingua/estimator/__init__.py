"""What a run learned, as scikit-learn has it: fit on a few examples, predict others; one file a kind of answer."""
