"""A service that runs the embedded PostgreSQL: its files, its start, its first databases, its end.

The data directory is the folder of the service's volume, so it is measured, listed and removed like
any other volume. The copy of the programs that root needs is in `postgres/` of the instance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from quiesce.adapters.host import embedded_postgres, procfs
from quiesce.adapters.host.procfs import Launch, Live
from quiesce.adapters.process import program
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import HostService, Secret

#: PostgreSQL's default, for a service without a port.
DEFAULT_PORT = 5432
#: Seconds for the child processes of a killed server to end; a new server refuses to start beside
#: them.
ORPHAN_SECONDS = 10.0
TOOL_SECONDS = 60.0

#: The name is a psql variable; `\\gexec` runs what the query returns, if anything.
CREATE_DATABASE = rb"""
SELECT format('CREATE DATABASE %I', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name')
\gexec
"""


class EmbeddedServer:
    """The PostgreSQL of one service.

    `home` is for its programs, `data` is its data directory; both may be missing. `made` is the
    file that records for which data directory the databases were created.
    """

    def __init__(
        self, service: HostService, *, home: Path, data: Path, made: Path, databases: Sequence[str]
    ) -> None:
        self.service = service
        self.data = data
        self._home = home
        self._made = made
        self._databases = tuple(databases)

    @property
    def port(self) -> int:
        return self.service.port or DEFAULT_PORT

    @property
    def version(self) -> str:
        """Return the version of PostgreSQL. Raise RequestError if it is not installed."""
        return self._installed.version

    def launch(self, more: Mapping[str, str]) -> Launch:
        """Create missing files, and return the command that starts the server. `more` is added to
        its environment. Raise RequestError if it cannot run here.
        """
        # An empty folder was created for a volume: it becomes a data directory with the right
        # owner.
        is_new = not self.data.is_dir() or not any(self.data.iterdir())
        identity = embedded_postgres.server_identity(None if is_new else self.data)
        home = embedded_postgres.place_home(self._home, identity)
        binaries = embedded_postgres.prepare(self._installed, home, identity)
        if is_new:
            superuser = self.service.postgres_user
            password = self._password.reveal()
            embedded_postgres.initialise(
                binaries, self.data, identity, password, superuser=superuser
            )
        procfs.wait_until(
            lambda: not procfs.in_folder(self.data, "postgres") or self._is_served(),
            ORPHAN_SECONDS,
        )
        command = embedded_postgres.start_command(binaries, self.data, self.port, identity)
        arguments = command.popen_arguments()
        return Launch(command.argv, {**arguments, "env": {**arguments["env"], **more}})

    def is_ready(self, live: Live, seconds: float) -> bool:
        """Whether this very process accepts connections on its port."""
        says = embedded_postgres.read_postmaster(self.data)
        if says is None or says.pid != live.pid or not says.is_ready:
            return False
        command = self.client(("pg_isready", "--quiet"), self._own_environment())
        asked = program.run(
            command.argv, environment=command.environment, accept=range(256), timeout=seconds
        )
        return asked.exit_code == 0

    def lacks_databases(self) -> bool:
        """Whether the databases that `stack.yaml` declares were never created for this data
        directory."""
        if not self._databases:
            return False
        try:
            made = self._made.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return True
        return made != self._identifier()

    def make_databases(self) -> None:
        """Create, once, the declared databases that are missing on a ready server.

        A database that a user drops later is not created again.
        """
        for name in self._databases:
            options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--set=name={name}")
            command = self.client(("psql", *options, "--file=-"), self._own_environment())
            program.run(
                command.argv,
                environment=command.environment,
                stdin=CREATE_DATABASE,
                timeout=TOOL_SECONDS,
                what=f"creating database {name}",
                secrets=[self._password.reveal()],
                hint=f"see 'inv logs --service {self.service.name}'",
            )
        self._made.write_text(self._identifier(), encoding="ascii")

    def client(
        self, argv: Sequence[str], environment: Mapping[str, str]
    ) -> embedded_postgres.Command:
        """Return the command that runs one of its programs. Raise RequestError if it does not
        exist."""
        return embedded_postgres.client_command(self._installed, argv[0], argv[1:], environment)

    def shut_down_cleanly(self) -> bool:
        """Whether the data directory records that its last server was shut down cleanly."""
        with contextlib.suppress(QuiesceError):
            return embedded_postgres.controldata(self._installed, self.data).is_clean
        return False

    # --------------------------------------------------------------------------------------- inside

    @cached_property
    def _installed(self) -> embedded_postgres.Binaries:
        return embedded_postgres.find_binaries()

    @property
    def _password(self) -> Secret:
        if self.service.postgres_password is None:
            raise RequestError(
                f"service {self.service.name} has no password for its PostgreSQL",
                "add 'password: ${NAME}' to it, and NAME to the env file",
            )
        return self.service.postgres_password

    def _own_environment(self) -> dict[str, str]:
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.service.postgres_user,
            "PGPASSWORD": self._password.reveal(),
            "PGDATABASE": "postgres",
            "PGCONNECT_TIMEOUT": "10",
        }

    def _identifier(self) -> str:
        return embedded_postgres.controldata(self._installed, self.data).system_identifier

    def _is_served(self) -> bool:
        """Whether another server runs on the data directory: ours would report that and exit."""
        says = embedded_postgres.read_postmaster(self.data)
        return says is not None and procfs.look(says.pid) is not None
