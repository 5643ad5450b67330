"""Who is notified, and metrics.

From outside use `apprise` and `prometheus`.
"""
