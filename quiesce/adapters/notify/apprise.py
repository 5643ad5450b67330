"""Sends messages to users and monitors, with a deadline and without raising exceptions.

The only module that uses `apprise`. URLs are secrets and never shown.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus

from quiesce.model import Secret

#: Seconds for all messages, which are sent in parallel.
SECONDS = 15.0
PING_SECONDS = 5.0
PING_TRIES = 2


def notify(urls: Mapping[str, Secret], title: str, body: str) -> tuple[str, ...]:
    """Send the message to every url; return the names of those that failed or timed out."""
    return _side_by_side({name: _message(url, title, body) for name, url in urls.items()}, SECONDS)


def ping(urls: Mapping[str, Secret], body: str = "") -> tuple[str, ...]:
    """Request every url with the text as its body; return the names of those that failed."""
    calls = {name: _call(url, body) for name, url in urls.items()}
    return _side_by_side(calls, PING_SECONDS * PING_TRIES + 1)


def _message(url: Secret, title: str, body: str) -> Callable[[], bool]:
    def send() -> bool:
        import apprise

        # Its log messages would contain the url.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        there = apprise.Apprise()
        return bool(there.add(url.reveal())) and bool(there.notify(title=title, body=body))

    return send


def _call(url: Secret, body: str) -> Callable[[], bool]:
    def send() -> bool:
        if not url.reveal().startswith(("http://", "https://")):
            return False
        data = body.encode() or None
        for _ in range(PING_TRIES):
            try:
                request = urllib.request.Request(url.reveal(), data)  # noqa: S310  checked before
                with urllib.request.urlopen(request, timeout=PING_SECONDS) as answer:  # noqa: S310
                    return bool(answer.status < HTTPStatus.BAD_REQUEST)
            except (OSError, ValueError):
                continue
        return False

    return send


def _side_by_side(sends: Mapping[str, Callable[[], bool]], seconds: float) -> tuple[str, ...]:
    """Run all in parallel threads, and wait for them at most this long."""
    delivered: set[str] = set()

    def run(name: str, send: Callable[[], bool]) -> None:
        try:
            if send():
                delivered.add(name)
        except Exception:  # noqa: BLE001  the caller reports the failure
            return

    threads = [
        threading.Thread(target=run, args=entry, daemon=True, name=f"notify {entry[0]}")
        for entry in sends.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return tuple(name for name in sends if name not in delivered)
