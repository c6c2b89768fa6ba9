"""The lake's tables: where they are, how they are read, and the writer that commits to them exactly once."""
