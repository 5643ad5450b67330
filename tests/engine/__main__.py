"""`python -m tests.engine up [--provision]` and `python -m tests.engine down`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time

from .machine import Unavailable, say
from .provision import ensure_engine, stop_engine

UNAVAILABLE = 3


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 3 after one line with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="provide engine, Compose v2 and images; print them as JSON")
    up.add_argument(
        "--provision",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="install what is missing (root, Debian); the default under CI=true",
    )
    commands.add_parser("down", help="stop the daemon that 'up' started, and no other")
    chosen = parser.parse_args(arguments)
    begun = time.monotonic()
    try:
        if chosen.command == "down":
            say("stopped dockerd" if stop_engine() else "no daemon of ours was running")
            return 0
        report = ensure_engine(provision=chosen.provision)
    except Unavailable as reason:
        print(f"engine unavailable: {reason}", file=sys.stderr)
        return UNAVAILABLE
    say(f"ready after {time.monotonic() - begun:.1f} s")
    print(json.dumps(dataclasses.asdict(report), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
