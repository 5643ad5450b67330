"""Every schema of `legal.py` by the commands that bring it back: in place, `--as`, rows alone,
`verify --restore` and on an empty machine.

On a real engine. `tests/integration/test_legal_schemas.py` tries
the same schemas on the adapter, with other versions and by hand. The normal run takes a sample of
the schemas, `--long` all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quiesce.commands.backup import run_backup
from quiesce.commands.lifecycle import run_up
from quiesce.commands.restore import run_restore
from quiesce.commands.verify import run_verify
from quiesce.errors import CheckFailed, QuiesceError
from quiesce.model import BackupSet
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from tests.integration.test_legal_schemas import FLAGS, FUNCTIONS, is_allowed
from tests.integration.test_postgres_content import SHAPES
from tests.support import sampling
from tests.support.counting import Counting
from tests.support.legal import LEGAL, Legal

pytestmark = pytest.mark.engine

KEY, OTHER = "legal", "looked_at"
SAMPLE = 2
DATABASE = '  legal: {service: db, port: "${DB_PORT}", password: "${POSTGRES_PASSWORD}"}\n'
State = set[tuple[Any, ...]]


class Server:
    """The database server of a stack, with one schema at a time in it."""

    def __init__(self, stack: Counting) -> None:
        self.stack = stack
        text = (stack.folder / "stack.yaml").read_text()
        (stack.folder / "stack.yaml").write_text(
            text.replace("databases:\n", f"databases:\n{DATABASE}", 1)
        )
        run_up(stack.session(), ("db",))
        number = self.sql("SELECT current_setting('server_version_num')")[0][0]
        self.major = int(number) // 10_000

    def sql(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a query, in a session of its own."""
        return self.stack.sql(database, query)

    def state(self, database: str) -> State:
        """Definitions of everything in a database."""
        return {*self.sql(SHAPES, database), *self.sql(FUNCTIONS, database)}

    def begin_with(self, legal: Legal) -> None:
        """The database holds this schema and nothing else."""
        self.empty()
        self.sql(f"CREATE DATABASE {KEY}")
        self.sql(legal.sql, KEY)

    def empty(self) -> None:
        """No database of ours and no role, as on an empty machine."""
        for name in (KEY, OTHER):
            self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        for (role,) in self.sql("SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384"):
            self.sql(f"DROP OWNED BY {role} CASCADE")
            self.sql(f"DROP ROLE {role}")

    def backup(self) -> BackupSet:
        """Make a set, and return it."""
        made = run_backup(self.stack.session(), BackupRequest(only=(KEY,)))
        assert made is not None
        return made

    def has(self, legal: Legal) -> bool:
        """Whether a server of this version, with these extensions, can hold the schema."""
        wanted = legal.needs or "plpgsql"
        found = self.sql(f"SELECT 1 FROM pg_available_extensions WHERE name = '{wanted}'")
        too_new = bool(legal.before) and legal.before <= self.major
        return bool(found) and legal.since <= self.major and not too_new


@pytest.fixture(scope="module")
def server(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose stack has nothing else running."""
    made = Counting.make(tmp_path_factory.mktemp("schemas") / "app", on_engine=True)
    try:
        yield Server(made)
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def tried(server: Server, everything: bool) -> frozenset[str]:
    """The schemas that this run tries."""
    names = [name for name, legal in LEGAL.items() if server.has(legal)]
    return frozenset(names if everything else sampling.chance("schemas").sample(names, SAMPLE))


def _comes_back(
    server: Server,
    flag: str,
    restore: Callable[..., None],
    database: str,
    before: State,
    broken: bool = False,
) -> None:
    """Restoring takes this flag and no less; what is there afterwards is what was there before.

    `broken`: without a flag, too, a constraint that rows broke at the backup may be NOT VALID.
    """
    if flag == "refused":
        with pytest.raises(QuiesceError):
            restore(not_valid=True, skip_broken=True)
        return
    if flag:
        said = r"prevents its restore|cannot be restored"
        with pytest.raises(QuiesceError, match=said) as caught:
            restore()
        assert flag in caught.value.hint
    restore(**({FLAGS[flag]: True} if flag else {}))
    changed = server.state(database) ^ before
    wrong = {line for line in changed if not ((flag or broken) and is_allowed(line))}
    assert wrong == set()


@pytest.mark.parametrize("name", LEGAL)
def test_every_command_brings_it_back(server: Server, name: str, tried: frozenset[str]) -> None:
    """With the flag of the table and no less; a set that needs one is never called damaged."""
    if name not in tried:
        pytest.skip("not in this run's sample, or not on this version of PostgreSQL")
    legal = LEGAL[name]
    flag = legal.whole(server.major)
    server.begin_with(legal)
    before = server.state(KEY)
    made = server.backup()

    def restore(**asked: Any) -> None:
        request = RestoreRequest((KEY,), safety=False, create_roles=True, **asked)
        run_restore(server.stack.session(), made.name, request)

    # Rows alone come first: they keep the constraints of the live schema, and a flag of the other
    # ways leaves some of them out.
    broken = bool({"check", "orphans"} & {*legal.found})
    _comes_back(
        *(server, legal.rows, lambda **asked: restore(data_only=True, **asked), KEY, before, broken)
    )
    _comes_back(server, flag, restore, KEY, before)
    _comes_back(server, flag, lambda **asked: restore(beside=OTHER, **asked), OTHER, before)
    _verify(server, made, flag)
    server.empty()
    _comes_back(server, flag, restore, KEY, before)


def _verify(server: Server, made: BackupSet, flag: str) -> None:
    """A restore on a server that starts for it; exit 7 and the flag where one is needed."""

    def verify() -> None:
        run_verify(server.stack.session(), made.name, everything=False, deep=False, restore=True)

    if not flag:
        verify()
        return
    with pytest.raises(CheckFailed) as caught:
        verify()
    lines = [caught.value.fact, *caught.value.details, caught.value.hint]
    assert any("prevents its restore" in line or "cannot" in line for line in lines)
    assert not any("damaged" in line for line in lines)
    if flag != "refused":
        assert any(flag in line for line in lines)
