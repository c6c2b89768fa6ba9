"""Ask the lake with DuckDB."""
