"""Checks of a finished backup: downtime, consistency and clean shutdown. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from quiesce.model import BackupSet, ClusterRecord
from quiesce.observed import Activity, ExternalSession, Service, Unit, VolumeState, WrittenBetween
from quiesce.plan.steps import CheckAddresses, CheckStopped

_RECENT = 3
CLEAN = "shut down"


def recent_downtime(past: Sequence[BackupSet]) -> tuple[float, ...]:
    """Return the overall downtimes, in seconds, of the last sets for which services stopped.

    `past` are sets of one instance, oldest first. Only consistent full sets count, because others
    stop other services, or none.
    """
    manifests = [s.manifest for s in past]
    spans = [
        m.downtime_seconds.overall
        for m in manifests
        if m.mode == "consistent" and m.kind == "full" and m.services_stopped
    ]
    return tuple(span for span in spans if span > 0)[-_RECENT:]


def downtime_words(limit: float, recent: Sequence[float]) -> str:
    """Return the reason for the check of the limit, with recent downtimes."""
    if not recent:
        return "max_downtime; no earlier set to compare with"
    spans = ", ".join(f"{span:.1f} s" for span in recent)
    over = " — this one may exceed the limit" if max(recent) > limit else ""
    return f"max_downtime; downtime of recent backups: {spans}{over}"


def downtime_warning(limit: float | None, recent: Sequence[float]) -> str:
    """Return a warning to print before a backup, or ""."""
    if limit is None or not recent or max(recent) <= limit:
        return ""
    return (
        f"services were down for {max(recent):.1f} s during a recent backup, and max_downtime is "
        f"{limit:g} s: this backup may exceed it too"
    )


def external_sessions(rest: Activity, ignored: Collection[str]) -> tuple[ExternalSession, ...]:
    """Return the sessions whose application and user are not in `writers.ignore`."""
    return tuple(v for v in rest.external_sessions if not {v.application, v.user} & set(ignored))


def session_words(each: ExternalSession) -> str:
    """Return a description of one session."""
    name = each.application or "a client"
    return f"{name} (user {each.user}, pid {each.pid}) in {each.database}"


def inconsistency(
    key: str, seen: WrittenBetween, rest: Activity | None, ignored: Collection[str]
) -> str:
    """Return why the snapshot of a database is not consistent with the first one, or "".

    The proof is rows in its tables that were written between the two snapshots. The message names
    the sessions that were active since. If only ignored sessions were, they wrote them, and "" is
    returned.
    """
    if rest is None or not seen.tables:
        return ""
    where = f"{', '.join(seen.tables)} of {key} were changed between the snapshots"
    busy = [each for each in rest.external_sessions if not each.idle]
    if unknown := external_sessions(replace(rest, external_sessions=tuple(busy)), ignored):
        return (
            f"{where}, while these clients were connected: {'; '.join(map(session_words, unknown))}"
        )
    return "" if busy else f"{where}, by a client that has disconnected since"


def ended_sessions(sessions: Sequence[ExternalSession]) -> str:
    """Return what cannot be proven about databases from which these clients were disconnected
    after services had stopped, or ""."""
    if not sessions:
        return ""
    return (
        "these clients were connected until the exchange, and may have written after services had "
        f"stopped: {'; '.join(map(session_words, sessions))}"
    )


def doubt(key: str, seen: WrittenBetween) -> str:
    """Return what cannot be proven about the snapshot of a database, or ""."""
    if not seen.transactions or seen.tables:
        return ""
    where = f"changes in {', '.join(seen.unread)}" if seen.unread else "deletions of rows"
    return (
        f"{seen.transactions} transactions ended on the server between the first snapshot and "
        f"the snapshot of {key} without adding rows to it: housekeeping, work in other "
        f"databases, or {where}"
    )


def running_writers(
    services: Sequence[Service],
    volumes: Sequence[VolumeState],
    started: Sequence[str],
    step: CheckStopped,
) -> tuple[str, ...]:
    """Return the writers of the step's volumes and databases that run or ran and are not ignored.

    `services` and `volumes` are the current state: a service that was started since counts, as does
    a container outside of the stack with write access to a volume. `started` were started since
    and may have ended.
    """
    found = [
        service.name
        for service in services
        if any(unit.runs for unit in service.units)
        and (
            service.name in step.services
            or any(m.writable and m.volume in step.volumes for m in service.mounts)
        )
    ]
    for state in volumes:
        if state.key in step.volumes:
            found += state.outside_writers
    return tuple(name for name in dict.fromkeys((*found, *started)) if name not in step.ignored)


def writers_words(writers: Sequence[str]) -> str:
    """Return why files and databases are not consistent, "" if no writer ran."""
    return (
        f"running while services were stopped, with write access: {', '.join(writers)}"
        if writers
        else ""
    )


def moved_addresses(step: CheckAddresses, services: Sequence[Service]) -> tuple[str, ...]:
    """Return, per service whose IP address changed, which others may still use the old one.

    `services` are the current state. A unit that was restarted since has looked up the address
    again.
    """
    now = {unit.name: unit for service in services for unit in service.running}
    found: dict[str, str] = {}
    for unit in step.units:
        ips = {a.network: a.ip for a in now[unit.name].addresses} if unit.name in now else {}
        for old in unit.addresses:
            new = ips.get(old.network, old.ip)
            unaware = [
                other.service
                for other in step.bystanders
                if new != old.ip and _ran_on(other, now.get(other.name), old.network)
            ]
            if unaware:
                who = dict.fromkeys(unaware)
                found[unit.name] = (
                    f"the IP address of {unit.service} in network {old.network} changed from "
                    f"{old.ip} to {new}; {', '.join(who)} kept running and may still use the old "
                    f"one: if so, run 'inv restart --service {','.join(who)}'"
                )
    return tuple(found.values())


def _ran_on(before: Unit, now: Unit | None, network: str) -> bool:
    return (
        now is not None
        and now.started_at == before.started_at
        and network in {address.network for address in before.addresses}
    )


def unclean_shutdown(service: str, exit_code: int | None, clusters: Sequence[ClusterRecord]) -> str:
    """Return why a stopped server's files must not be copied, "" if they may be.

    `exit_code` is None if it is unknown because nothing was stopped. `clusters` are the data
    directories of its volume.
    """
    if exit_code:
        how = "had to be killed" if exit_code == 137 else "did not exit cleanly"
        return f"{service} {how} (exit code {exit_code})"
    if not clusters:
        return f"the volume of {service} contains no PostgreSQL data directory"
    for cluster in clusters:
        if cluster.state != CLEAN:
            return f"the data directory of {service} is in state {cluster.state!r}, not {CLEAN!r}"
        if cluster.open:
            return f"the data directory of {service} contains a postmaster.pid and may be in use"
    return ""
