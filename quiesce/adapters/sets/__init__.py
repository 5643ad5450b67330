"""Backup sets, on this machine and in stores.

From outside use `local`, `offsite`, `crypt` and `signing`.
"""
