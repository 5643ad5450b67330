"""A service that does not come back, on real processes: backups go on, and say so."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.place import Place

STACK = """\
version: 1
instances:
  local: {runtime: host, retention: short}
services:
  web:
    command: [sh, -c, 'test ! -e broken && exec sleep 1000']
    cwd: .
    volumes: {media: MEDIA}
volumes:
  media: {purpose: Uploads, priority: critical}
restart: {health_timeout: 2s}
retention:
  short: {keep_last: 50}
"""


def _sets(place: Place) -> int:
    return len(list((place.folder / "backups").glob("local-*/manifest.json")))


def test_backups_are_made_while_a_service_does_not_come_back(tmp_path: Path) -> None:
    """4 each time, with a set each time; and 0 again once the service runs."""
    place = Place(tmp_path, STACK)
    place.succeed("up")
    try:
        (place.volume("media") / "file").write_text("x")
        (tmp_path / "broken").touch()
        assert place.inv("backup").returncode == 4
        before = _sets(place)
        ended = place.inv("backup")
        assert ended.returncode == 4, ended.stdout + ended.stderr
        assert "web could not be started again" in ended.stderr
        assert _sets(place) == before + 1
        (pending,) = json.loads(place.succeed("status", "--json"))["pending"]
        assert (pending["what"], pending["service"]) == ("web", True)
        (tmp_path / "broken").unlink()
        place.succeed("backup")
        assert _sets(place) == before + 2
        seen = json.loads(place.succeed("status", "--json"))
        assert [unit["state"] for unit in seen["services"][0]["units"]] == ["running"]
        assert seen["pending"] == []
    finally:
        place.inv("down")
