"""PostgreSQL servers and their dumps.

From outside use `admin`; migrations use `session` and `catalog`; checks of dumps and files use
`client_args`, `dump_toc` and `sql_reader`; lock conflicts come from `lock_monitor`.
"""
