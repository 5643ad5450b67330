"""The schedulers of this machine.

From outside use `cron`, `crontab` and `systemd`.
"""
