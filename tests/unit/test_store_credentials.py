"""The credentials file of a store is an env file."""

from __future__ import annotations

from pathlib import Path

import pytest

from quiesce.adapters.sets import open_store
from quiesce.errors import RequestError
from quiesce.model import OffsiteStore


def credentials(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what the store is opened with when its credentials file holds this text."""
    file = folder / "away.env"
    file.write_text(text)
    opened: list[dict[str, str]] = []
    monkeypatch.setattr(open_store, "ObjectStore", lambda _, given: opened.append(dict(given)))
    open_store.open_objects(OffsiteStore("away", "s3://a/b", credentials_file=file))
    return opened[0]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=a/b+c=", "a/b+c="),
        ("export KEY='a'", "a"),
        ("  export  KEY=a", "a"),
        ("KEY=a # the key of the backup user", "a"),
        ('KEY="a"   # the same', "a"),
        ("KEY=pa$word", "pa$word"),
        ("[default]\nKEY=a", "a"),
        ("# KEY=b\nKEY=a\n\n", "a"),
    ],
)
def test_a_line_is_read_as_in_every_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, value: str
) -> None:
    """Comments, `export` and quotes; a dollar sign is a character of the secret."""
    assert credentials(tmp_path, line, monkeypatch) == {"KEY": value}


def test_a_mistake_is_told_with_its_line_and_without_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine would only say that access is denied."""
    with pytest.raises(RequestError) as failure:
        credentials(tmp_path, "ID=a\nKEY='s3cret\n", monkeypatch)
    said = f"{failure.value.fact} ({failure.value.hint})"
    assert "store away is wrong in line 2: KEY: a quote is not closed" in said
    assert "s3cret" not in said


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With the path to correct."""
    store = OffsiteStore("away", "s3://a/b", credentials_file=tmp_path / "absent.env")
    with pytest.raises(RequestError, match="the credentials file of store away cannot be read"):
        open_store.open_objects(store)
