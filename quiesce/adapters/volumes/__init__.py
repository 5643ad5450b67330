"""Volumes: archives, changed entries, and restores beside the live content.

From outside use `io`, `helper` and `direct`.
"""
