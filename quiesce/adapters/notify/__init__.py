"""Notifications and metrics.

From outside use `apprise` and `prometheus`.
"""
