"""The verb `init`: proposes `stack.yaml` for a folder with a Compose file, and writes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.app import open_app
from quiesce.app.confirm import require_yes
from quiesce.app.found_stack import find_stack
from quiesce.app.passwords import with_passwords
from quiesce.app.probes import answered
from quiesce.app.wiring import connect, disconnect, discovery_of
from quiesce.commands.check import run_check
from quiesce.config import load_stack
from quiesce.errors import QuiesceError, Refused, RequestError
from quiesce.plan.draft_yaml import additions, draft
from quiesce.plan.found import FoundServer, FoundStack
from quiesce.plan.proposal import Proposal, missing, propose
from quiesce.undeclared import Contents, anonymous_volumes, unkept_files

if TYPE_CHECKING:
    from quiesce.app.session import Options, Session
    from quiesce.execute.run import Ports
    from quiesce.model import Database, Stack
    from quiesce.report import Reporter

#: A stack.yaml that declares nothing: its instance has the variables of `.env`.
_EMPTY = (
    "version: 1\ninstances: {{here: {{retention: r{files}}}}}\nretention: {{r: {{keep_last: 1}}}}\n"
)
_TASKS = '''\
"""Tasks for 'inv': those of Quiesce, and yours. The command 'quiesce' does not need this file."""

from quiesce.menu import compose

namespace = compose(globals())
'''


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that may have no stack.yaml yet. `interactive`: somebody can answer questions."""

    folder: Path
    file: Path
    reporter: Reporter
    options: Options
    interactive: bool


def run_init(place: Place, files: Sequence[str]) -> None:
    """Propose a stack.yaml and write it if there is none; otherwise show what it lacks.

    Nothing that exists is overwritten. Ends with `check`, and offers the first backup.
    """
    if place.file.exists():
        _show_additions(place)
        return
    proposal = _proposal(place, _bare(place, files), files)
    text = place.reporter.named(draft(proposal))
    _notes(place, proposal.found)
    if place.options.dry_run or not place.options.yes:
        place.reporter.text(text)
    if place.options.dry_run:
        return
    _confirm(place)
    written = [place.file.name] if _create(place.file, text) else []
    if not written:
        raise RequestError(f"{place.file} was created meanwhile", "run this again")
    tasks = place.folder / "tasks.py"
    if _create(tasks, _TASKS):
        written.append(tasks.name)
    place.reporter.done(f"wrote {' and '.join(written)}", {"written": written})
    place.reporter.note(_summary(proposal))
    session = _open(place)
    run_check(session)
    _offer_backup(place, session)


# -------------------------------------------------------------------------------------- proposing


def _bare(place: Place, files: Sequence[str]) -> Stack:
    """Return a stack that declares nothing, for the variables of `.env`."""
    named = f", files: [{', '.join(map(_quoted, files))}]" if files else ""
    content = _EMPTY.format(files=named)
    return load_stack(place.file, None, place.options.environ, content=content.encode())


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''").replace("$", "$$") + "'"


def _proposal(place: Place, stack: Stack, files: Sequence[str]) -> Proposal:
    """Return what stack.yaml should say, after asking the servers and services that run."""
    instance = replace(stack.instance, project="")
    discovery = discovery_of(instance)
    found = find_stack(instance, discovery, place.options.environ, place.reporter.warn)
    found = replace(found, files=tuple(files))
    return propose(_asked(place, found))


def _asked(place: Place, found: FoundStack) -> FoundStack:
    """Return the findings, with the databases that servers report and the probes that pass."""
    if not any(service.running for service in found.services):
        return found
    stack = _provisional(place, found)
    run = f"init-{os.getpid()}"
    ports = connect(stack, run, place.reporter)
    try:
        asked = {
            server.service: _databases_of(server, stack, ports)
            for service in found.services
            if (server := service.server) and service.running
        }
        passing = {(p.service, p.port, p.path) for p in answered(stack, ports)}
        contents = Contents(ports.runtime, ports.volumes)
        seen, local = ports.runtime.services(), ports.runtime.engine().local
        unkept = {
            str(source): reason or "it is not in the stack's folder"
            for source, _, reason in (unkept_files(stack, seen, contents) if local else ())
        }
        anonymous = [(s.name, mount.target) for s, mount, _ in anonymous_volumes(stack, seen)]
    finally:
        disconnect(ports, run)
    return replace(
        found,
        folders={
            source: replace(folder, unkept=unkept.get(source, ""))
            for source, folder in found.folders.items()
        },
        services=tuple(
            replace(
                service,
                anonymous=tuple(
                    dict.fromkeys(
                        (
                            *(target for name, target in anonymous if name == service.name),
                            *service.anonymous,
                        )
                    )
                ),
                server=asked.get(service.name, service.server),
                probes=tuple(
                    probe
                    for probe in service.probes
                    if not service.running or (probe.service, probe.port, probe.path) in passing
                ),
            )
            for service in found.services
        ),
    )


def _provisional(place: Place, found: FoundStack) -> Stack:
    """Return the stack of the proposal so far, which may ask only what runs."""
    running = tuple(
        replace(s, probes=s.probes if s.running else (), server=s.server if s.running else None)
        for s in found.services
    )
    text = draft(propose(replace(found, services=running, volumes=())))
    stack = load_stack(place.file, None, place.options.environ, content=text.encode())
    return with_passwords(stack)


def _databases_of(server: FoundServer, stack: Stack, ports: Ports) -> FoundServer:
    declared = [d for d in stack.databases if d.service == server.service]
    try:
        names = _names_on_server(declared, ports)
    except QuiesceError as error:
        return replace(server, problem=error.fact)
    return replace(server, databases=names, asked=True)


def _names_on_server(declared: Sequence[Database], ports: Ports) -> tuple[str, ...]:
    """Return the databases of a server. Raise QuiesceError if it cannot be asked."""
    states = ports.databases.observe(declared)
    for state in states:
        if not state.reachable:
            raise QuiesceError(state.problem or "it cannot be reached")
    there = [state.name for state in states if state.exists]
    return (*there, *ports.databases.undeclared(declared))


# ----------------------------------------------------------------------------------------- writing


def _notes(place: Place, found: FoundStack) -> None:
    for note in found.notes:
        place.reporter.warn(note)


def _confirm(place: Place) -> None:
    if not place.options.yes and not place.interactive:
        raise Refused(
            "nothing was written: there is no terminal to confirm it",
            "use --yes to write the proposal",
        )
    require_yes(place.reporter, f"write {place.file.name}?", (), yes=place.options.yes)


def _create(file: Path, text: str) -> bool:
    """Write a file that does not exist, completely or not at all; return whether it did not."""
    if os.path.lexists(file):
        return False
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        # Unlike a rename, a link never replaces a file that came meanwhile.
        os.link(part, file)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def _summary(proposal: Proposal) -> str:
    kept = [e for e in proposal.entries if e.field("backup") in ("", "files")]
    databases = ", ".join(e.key for e in proposal.databases) or "none"
    never = [e.key for e in proposal.entries if e.field("backup") == "never"]
    never += proposal.excluded
    left = f"; not backed up: {', '.join(never)}" if never else ""
    files = ", ".join(e.key for e in kept if e.section != "databases") or "none"
    return f"databases: {databases}; files: {files}{left}"


def _open(place: Place) -> Session:
    return open_app(place.folder, str(place.file), None, place.reporter, place.options)


def _offer_backup(place: Place, session: Session) -> None:
    from quiesce.app.requests import backup_request
    from quiesce.commands.backup import run_backup

    if not place.interactive or place.options.yes:
        place.reporter.note("next: 'inv backup --dry-run' shows what will stop, 'inv backup' runs")
        return
    question = "make the first backup now? Services that write stop briefly [yes/no]"
    answer = place.reporter.ask(question)
    if (answer or "").strip().lower() in ("y", "yes"):
        request = backup_request(
            (), "consistent", data_only=False, schema_only=False, label="", keep=False
        )
        run_backup(session, request)


# ------------------------------------------------------------------------------------------- again


def _show_additions(place: Place) -> None:
    """Show the lines that an existing stack.yaml lacks."""
    session = _open(place)
    stack = session.stack
    files = [os.path.relpath(path, place.folder) for path in stack.instance.files]
    lacking = missing(
        _proposal(place, stack, files),
        databases=_listed_databases(stack),
        volumes={*(volume.key for volume in stack.volumes), *stack.excluded_volumes},
        paths=[os.fspath(entry.path) for entry in stack.paths],
        excluded=stack.excluded_volumes,
    )
    text = additions(lacking)
    place.reporter.result({"add": text})
    if text:
        place.reporter.note(f"{place.file.name} is not changed; these lines are missing from it:")
        place.reporter.text(text)
    else:
        place.reporter.done(f"{place.file.name} lacks nothing that was found")
    if not place.options.dry_run:
        run_check(session)


def _listed_databases(stack: Stack) -> set[tuple[str, str]]:
    listed = {(d.service, d.name) for d in stack.databases}
    servers = {d.service for d in stack.databases}
    return listed | {(s, name) for s in servers for name in stack.excluded_databases}
