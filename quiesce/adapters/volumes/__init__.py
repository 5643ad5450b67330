"""Volumes: archives, changes, restores beside the live content.

From outside use `io`, `helper` and `direct`.
"""
