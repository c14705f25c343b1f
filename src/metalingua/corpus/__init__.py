"""Where text comes from: three sources behind one schema."""
