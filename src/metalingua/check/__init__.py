"""What a config may not say, found before any data is read. Imports no target, and no torch."""
