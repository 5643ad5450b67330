"""MariaDB servers and their dumps.

From outside use `admin`.
"""
