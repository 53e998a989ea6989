"""PostgreSQL: the only package that knows a table's name."""
