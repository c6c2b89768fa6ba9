"""Ask the lake with DuckDB."""

from query.ask import Answer, ArrowAnswer, QueryError, ask, ask_arrow
from query.views import connect

__all__ = ["Answer", "ArrowAnswer", "QueryError", "ask", "ask_arrow", "connect"]
