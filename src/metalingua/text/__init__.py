"""Reading: text to token ids to padded batches."""
