"""The schedulers of this machine: cron and systemd.

From outside use `cron`, `crontab` and `systemd`.
"""
