"""Writes a proposal as the text of a commented `stack.yaml`, or as lines to add to one. Pure."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator

from quiesce.plan.found import FoundStack
from quiesce.plan.proposal import Entry, Proposal

WIDTH = 100
RETENTION = "standard"
#: Text that needs no quotes in YAML and in stack.yaml, not even inside of braces.
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./ -]*(?<! )")
_WORDS = frozenset("true false null yes no on off ~".split())
_SECTIONS = {
    "databases": "Each database is dumped as of the moment of the backup.",
    "volumes": "Named volumes. 'files' (the default): archived while their services are stopped.",
    "paths": "Folders of this machine that services write to.",
}


def draft(proposal: Proposal) -> str:
    """Return the whole text."""
    found = proposal.found
    lines = [
        *_comment(
            f"What Quiesce backs up of this stack, and how. Proposed from {found.compose_file}; "
            "correct it if something is wrong. docs/stack-yaml.md of Quiesce explains every key."
        ),
        "version: 1",
        *([f"timezone: {quoted(found.timezone)}"] if found.timezone else []),
        "instances:",
        f"  {instance_name(found)}:",
        *(f"    {name}: {value}" for name, value in _instance(found)),
        "",
    ]
    for section in ("databases", "volumes", "paths"):
        lines += _section(proposal, section)
        if section == "volumes" and proposal.excluded:
            lines += [*_excluded(proposal), ""]
    if proposal.order:
        lines += [
            *_comment(
                "Services start after those in their depends_on and stop before them, otherwise at "
                "the same time. To start them one after another:"
            ),
            *_comment(f"restart: {{order: [{', '.join(map(quoted, proposal.order))}]}}"),
            "",
        ]
    if proposal.probes:
        lines += [
            *_comment("Checks that must pass after a restore, and in the copy of a drill."),
            "probes:",
        ]
        for probe in proposal.probes:
            fields = f"service: {quoted(probe.service)}, port: {probe.port}"
            lines += [
                *_comment(probe.reason, 2),
                f"  - {{{fields}, path: {quoted(probe.path)}}}",
            ]
        lines += [""]
    lines += [
        *_comment(
            "Which sets 'prune' keeps; every backup prunes at its end. Quiesce never removes the "
            "newest verified set."
        ),
        "retention:",
        f"  {RETENTION}: {{keep_last: 3, keep_daily: 7, keep_weekly: 4, keep_monthly: 6}}",
        "",
        *_comment(
            "A backup every night: remove the '#', then run 'inv schedule --install'. Copies "
            "elsewhere, encryption and messages: see docs/offsite.md and docs/notifications.md."
        ),
        "# schedule: [daily 02:00 full, weekly Sunday 04:00 verify-restore]",
    ]
    return "\n".join(lines) + "\n"


def additions(lacking: Proposal) -> str:
    """Return what to add to a stack.yaml, by section, "" for nothing."""
    lines: list[str] = []
    for section in ("databases", "volumes", "paths"):
        entries = [entry for entry in lacking.entries if entry.section == section]
        if entries:
            lines += [f"{section}:", *(line for entry in entries for line in _entry(entry))]
        if section == "volumes" and lacking.excluded:
            lines += _excluded(lacking)
    return "".join(f"{line}\n" for line in lines)


def instance_name(found: FoundStack) -> str:
    """Return the name of the proposed instance."""
    return found.project[:60]


def _instance(found: FoundStack) -> Iterator[tuple[str, str]]:
    yield "project", quoted(found.project)
    if found.context:
        yield "context", quoted(found.context)
    if found.files:
        yield "files", f"[{', '.join(map(quoted, found.files))}]"
    if found.env_file:
        yield "env_file", quoted(found.env_file)
    if found.profiles:
        yield "profiles", f"[{', '.join(map(quoted, found.profiles))}]"
    yield "retention", RETENTION


def _section(proposal: Proposal, section: str) -> list[str]:
    entries = [entry for entry in proposal.entries if entry.section == section]
    asides = [text for name, text in proposal.asides if name == section]
    if not entries and not asides:
        return []
    lines = _comment(_SECTIONS[section])
    lines += [line for text in asides for line in _comment(f"- {text}")]
    if entries:
        lines += [f"{section}:", *(line for entry in entries for line in _entry(entry))]
    return [*lines, ""]


def _excluded(proposal: Proposal) -> list[str]:
    why = (
        "Anonymous volumes of caches, which no set contains. To keep one, see docs/volumes.md of "
        "Quiesce."
    )
    return [*_comment(why), *_wrapped("exclude_volumes: [", proposal.excluded, "]")]


def _entry(entry: Entry) -> list[str]:
    comments = [line for text in entry.comments for line in _comment(text, 2)]
    body = ", ".join(f"{name}: {quoted(value)}" for name, value in entry.fields)
    line = f"  {quoted(entry.key)}: {{{body}}}"
    if len(line) <= WIDTH:
        return [*comments, line]
    fields = [f"    {name}: {quoted(value)}" for name, value in entry.fields]
    return [*comments, f"  {quoted(entry.key)}:", *fields]


def _wrapped(start: str, names: tuple[str, ...], end: str) -> list[str]:
    text = start + ", ".join(map(quoted, names)) + end
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=" " * 4, break_long_words=False, break_on_hyphens=False
    )


def _comment(text: str, indent: int = 0) -> list[str]:
    mark = " " * indent + "# "
    # A name may contain a line break; it must not end the comment.
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return textwrap.wrap(
        plain,
        WIDTH,
        initial_indent=mark,
        subsequent_indent=mark,
        break_long_words=False,
        break_on_hyphens=False,
    )


def quoted(text: str) -> str:
    """Return a text as YAML, also inside of braces. A reference such as `${NAME}` stays one; any
    other dollar sign is doubled."""
    if re.fullmatch(r"\$\{\w+\}", text):
        return f'"{text}"'
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = json.dumps(text.replace("$", "$$"), ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)
