"""The report: one date of the lake as one HTML file, from gold."""

from report.day import Day, read_day
from report.page import render

__all__ = ["Day", "read_day", "render"]
