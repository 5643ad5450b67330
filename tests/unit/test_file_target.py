"""Which database a single file goes into: its name, what it holds and what was asked agree."""

from __future__ import annotations

import io
import itertools
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.app.file_target import database_of_file, key_in_name
from quiesce.app.importing import ForeignFile, as_source
from quiesce.errors import RequestError
from quiesce.execute.run import Ports
from quiesce.model import BackupSet, Database, Stack
from tests.support.builders import a_stack

_RUNS = itertools.count()
SCRIPT = b"CREATE TABLE public.t (a integer);\n-- PostgreSQL database dump complete\n"


def _stack(*keys: str, folder: Path = Path("/stack"), **fields: object) -> Stack:
    databases = tuple(Database(key, key, "db", "postgres", None, 5432, None) for key in keys)
    return a_stack(folder, databases=databases, **fields)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("beta-20251101-020000.sql", "beta"),
        ("beta-wrong.sql", "beta"),
        ("beta.sql", "beta"),
        ("beta.dump", "beta"),
        ("beta_2025-11-01.sql.gz", "beta"),
        ("beta.20251101.sql.zst.age", "beta"),
        ("beta-data-20251101.sql", "beta"),
        ("BETA-20251101.SQL", "beta"),
        ("beta_test-20251101.sql", None),
        ("beta_test.sql", None),
        ("betamax-20251101.sql", None),
        ("shop-20251101.sql", "shop"),
        ("shop-eu-20251101.sql", "shop-eu"),
        ("shop-eu.sql", "shop-eu"),
        ("ProdDB-20251101.sql", "ProdDB"),
        ("proddb-20251101.sql", "proddb"),
        ("PRODDB-20251101.sql", None),
        ("core-beta-20251101.sql", None),
        ("20251101.sql", None),
    ],
)
def test_the_name_says_which_database_it_is(name: str, key: str | None) -> None:
    """The longest that fits is meant; case counts where two differ by nothing else."""
    stack = _stack("alpha", "beta", "shop", "shop-eu", "ProdDB", "proddb")
    assert key_in_name(stack, name) == key


def test_files_of_another_instance_than_the_default_one_carry_its_name() -> None:
    """As `backup-db` writes them; a key that is a longer name counts before that."""
    stack = _stack("beta", "stage", is_default=False)
    stack = replace(stack, instance=replace(stack.instance, name="stage"))
    assert key_in_name(stack, "stage-beta-20251101.sql") == "beta"
    assert key_in_name(stack, "stage-20251101.sql") == "stage"


def test_a_database_is_named_by_its_own_name_as_well() -> None:
    """`pg_dump shop_production > shop_production.sql` is of the key `shop`."""
    stack = a_stack(
        databases=(
            Database("shop", "shop_production", "db", "postgres", None, 5432, None),
            Database("blog", "blog", "db", "postgres", None, 5432, None),
        )
    )
    assert key_in_name(stack, "shop_production-2025.sql") == "shop"


def test_what_contradicts_is_refused() -> None:
    """The name against --database, and what an archive says it was made of."""
    stack = _stack("alpha", "beta", legacy={"db": "alpha"})
    assert database_of_file(stack, "beta-1.sql", None).key == "beta"
    assert database_of_file(stack, "x.sql", "beta").key == "beta"
    for name, asked, more in (
        ("beta-1.sql", "alpha", {}),
        ("db_backup_1.sql", "beta", {"legacy": True}),
        ("x.dump", "alpha", {"member_of": "beta"}),
        ("alpha-1.dump", None, {"header": "beta"}),
        ("x.sql", None, {}),
        ("x.dump", None, {"member_of": "gamma"}),
        ("x.sql", "gamma", {}),
    ):
        with pytest.raises(RequestError) as refused:
            database_of_file(stack, name, asked, **cast("Any", more))
        assert refused.value.hint
    assert database_of_file(stack, "alpha-1.dump", None, header="prod_alpha").key == "alpha"


# ----------------------------------------------------------------------------- of whole files


def _ports(folder: Path) -> Ports:
    databases = SimpleNamespace(missing_for_script=lambda *_: ())
    volumes = SimpleNamespace(check=lambda _: ())
    store = LocalStore(folder / "backups")
    return cast("Ports", SimpleNamespace(databases=databases, volumes=volumes, store=store))


def _restored(stack: Stack, file: Path, *, database: str = "", volume: str = "") -> BackupSet:
    wanted = ForeignFile(file, database or None, volume or None)
    # A run of its own each time: its folder is locked for as long as it lives.
    return as_source(stack, _ports(stack.directory), f"r-{next(_RUNS):04x}", wanted, None)


def _legacy_archive(folder: Path, name: str) -> Path:
    path = folder / name
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz"):
        pass
    with tarfile.open(path, "w:gz") as tar:
        for member, content in (
            ("./db_backup_1.sql", SCRIPT),
            ("media_backup_1.tar.gz", inner.getvalue()),
        ):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_only_the_older_scripts_files_are_what_legacy_says(tmp_path: Path) -> None:
    """A file with a name of its own goes where that says, whatever `legacy` is."""
    legacy = {"db": "alpha", "media": "backend-media"}
    stack = _stack("alpha", "beta", folder=tmp_path, legacy=legacy)
    named = tmp_path / "beta-20251101.sql"
    named.write_bytes(SCRIPT)
    assert [d.key for d in _restored(stack, named).manifest.databases] == ["beta"]
    with pytest.raises(RequestError, match="--database says alpha"):
        _restored(stack, named, database="alpha")
    bare = tmp_path / "db_backup_20251101.sql"
    bare.write_bytes(SCRIPT)
    assert [d.key for d in _restored(stack, bare).manifest.databases] == ["alpha"]
    whole = _legacy_archive(tmp_path, "beta-renamed.tar.gz")
    assert [d.key for d in _restored(stack, whole).manifest.databases] == ["alpha"]


def test_one_volume_of_an_older_archive_is_that_part_of_it(tmp_path: Path) -> None:
    """Not the archive itself, dump and all, unpacked into the volume; another one is refused."""
    legacy = {"db": "alpha", "media": "backend-media", "static": "backend-static"}
    stack = _stack("alpha", "beta", folder=tmp_path, legacy=legacy)
    whole = _legacy_archive(tmp_path, "full_backup_1.tar.gz")
    source = _restored(stack, whole, volume="backend-media")
    assert [member.file for member in source.manifest.members] == ["media_backup_1.tar.gz"]
    assert source.manifest.databases == ()
    with pytest.raises(RequestError, match="holds no redis-data"):
        _restored(stack, whole, volume="redis-data")
    part = tmp_path / "media_backup_1.tar.gz"
    with tarfile.open(part, "w:gz"):
        pass
    assert [v.key for v in _restored(stack, part).manifest.volumes] == ["backend-media"]
    with pytest.raises(RequestError, match="--only says backend-static"):
        _restored(stack, part, volume="backend-static")
