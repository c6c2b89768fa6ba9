"""Ask the lake with DuckDB."""

from query.ask import Answer, ArrowAnswer, ask, ask_arrow
from query.views import connect
from schemas.errors import QueryError

__all__ = ["Answer", "ArrowAnswer", "QueryError", "ask", "ask_arrow", "connect"]
