"""Services as local processes and an embedded PostgreSQL.

From outside use `runtime`, `project`, `orphans` and `embedded_postgres`.
"""
