"""Provide engines for the tests: `python -m tests.engine up`, `down`, and by name `run`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time

from .enclosed import start_enclosed, stop_enclosed
from .machine import Unavailable, say
from .named import ENGINES, MACHINE, NAMES
from .provision import ensure_engine, stop_engine

UNAVAILABLE = 3


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 3 after one line with the reason on stderr."""
    chosen = _parse(arguments)
    begun = time.monotonic()
    try:
        if chosen.command == "down":
            named = ENGINES.get(chosen.name)
            stop = stop_enclosed(named) if named else stop_engine()
            say("stopped the engine" if stop else "no engine of ours was running")
            return 0
        if chosen.name in ENGINES:
            engine = start_enclosed(ENGINES[chosen.name], provision=chosen.provision)
            say(f"ready after {time.monotonic() - begun:.1f} s")
            if chosen.command == "up":
                print(json.dumps(engine.report, indent=2) if chosen.json else engine.shell)
                return 0
            command = [*engine.entering, *(chosen.program or ["sh"])]
            # In the place of this process: a signal that ends this ends the command.
            os.execvpe(command[0], command, {**os.environ, **engine.variables})
        report = ensure_engine(provision=chosen.provision, version=chosen.name and "20.10.")
    except Unavailable as reason:
        print(f"engine unavailable: {reason}", file=sys.stderr)
        return UNAVAILABLE
    say(f"ready after {time.monotonic() - begun:.1f} s")
    shown = report.report if chosen.json else dataclasses.asdict(report)
    print(json.dumps(shown, indent=2))
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="provide engine, Compose and images; print what to use")
    up.add_argument(
        "name", nargs="?", choices=NAMES, help=f"default: one like {MACHINE}, any version"
    )
    up.add_argument("--json", action="store_true", help="print JSON for a program")
    down = commands.add_parser("down", help="stop the engine that 'up' started, and no other")
    down.add_argument("name", nargs="?", choices=NAMES)
    inside = commands.add_parser("run", help="run a command as a client of an engine")
    inside.add_argument("name", choices=tuple(ENGINES))
    inside.add_argument("program", nargs=argparse.REMAINDER, metavar="COMMAND")
    for command in (up, inside):
        command.add_argument(
            "--provision",
            action="store_true",
            default=os.environ.get("CI") == "true",
            help="install and make what is missing (root, Debian); the default under CI=true",
        )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
