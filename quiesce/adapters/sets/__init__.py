"""Where backup sets are kept, here and in stores.

From outside use `local`, `offsite`, `crypt` and `signing`.
"""
