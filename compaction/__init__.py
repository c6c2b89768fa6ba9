"""Repair, dedupe, compaction and gold."""
