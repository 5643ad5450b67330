"""Probes of a stack's services over HTTP and of its databases by query, and a drill's writes."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from quiesce.errors import QuiesceError
from quiesce.model import without_query

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.model import DrillWrite, Probe, Stack
    from quiesce.ports import Clock

SECONDS = 30.0
_ASK_EVERY = 0.5
#: The largest accepted answer of an API.
_LONGEST_ANSWER = 4 * 1024**2
_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def probe_problem(stack: Stack, ports: Ports, probe: Probe) -> str:
    """Return the problem of a probe, "" if it passes."""
    try:
        if probe.database:
            value = ports.databases.ask(stack.database(probe.database), probe.query)
            return "" if value else f"it returned {value!r}"
        _request(ports, probe.service, probe.port, "GET", probe.path, None)
    except QuiesceError as error:
        return error.fact
    return ""


def answered(stack: Stack, ports: Ports) -> tuple[Probe, ...]:
    """Return the probes of the stack that pass now."""
    return tuple(probe for probe in stack.probes if not probe_problem(stack, ports, probe))


def still_answered(
    stack: Stack, ports: Ports, probes: Sequence[Probe], clock: Clock, patience: float
) -> tuple[str, ...]:
    """Repeat these probes until all pass, for `patience` seconds at most; describe the problems of
    those that still fail."""
    deadline = clock.monotonic() + patience
    while True:
        found = [(probe, probe_problem(stack, ports, probe)) for probe in probes]
        wrong = tuple(f"{probe.words}: {problem}" for probe, problem in found if problem)
        if not wrong or clock.monotonic() >= deadline:
            return wrong
        time.sleep(_ASK_EVERY)


def write(ports: Ports, what: DrillWrite, mark: str) -> dict[str, str]:
    """Write the marker through the API; return the values of its answer: `{id}` and similar.

    Raise QuiesceError if the service refuses it.
    """
    body = None if what.body is None else _fill(what.body, {"mark": mark})
    path = _fill(what.path, {"mark": mark}, _quoted)
    answer = _request(ports, what.service, what.port, what.method, path, body)
    said = {"mark": mark}
    try:
        document = json.loads(answer)
    except ValueError:
        return said
    if isinstance(document, dict):
        said |= {
            name: str(value) for name, value in document.items() if isinstance(value, str | int)
        }
    return said


def still_there(ports: Ports, what: DrillWrite, said: Mapping[str, str]) -> bool:
    """Whether the service still returns the marker."""
    try:
        path = _fill(what.read, said, _quoted)
        answer = _request(ports, what.service, what.port, "GET", path, None)
    except QuiesceError:
        return False
    return said["mark"].encode() in answer


def remove(ports: Ports, what: DrillWrite, said: Mapping[str, str]) -> None:
    """Remove the marker through the API, if `stack.yaml` says how."""
    if what.remove is not None:
        path = _fill(what.remove, said, _quoted)
        _request(ports, what.service, what.port, "DELETE", path, None)


def _request(
    ports: Ports, service: str, port: int, method: str, path: str, body: str | None
) -> bytes:
    endpoint = ports.runtime.endpoint(service, port)
    url = f"http://{endpoint.host}:{endpoint.port}{path}"
    data = None if body is None else body.encode()
    headers = {} if body is None else {"Content-Type": _type_of(body)}
    request = urllib.request.Request(url, data, headers, method=method)
    where = f"{method} {service}:{port}{without_query(path)}"
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            found: bytes = answer.read(_LONGEST_ANSWER)
            return found
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode("utf-8", "replace").strip()
        raise QuiesceError(f"{where} returned {error.code}: {said}".rstrip(": ")) from error
    except OSError as error:
        raise QuiesceError(f"{where}: {getattr(error, 'reason', error)}") from error


def _type_of(body: str) -> str:
    try:
        json.loads(body)
    except ValueError:
        return "text/plain; charset=utf-8"
    return "application/json"


def _quoted(value: str) -> str:
    return urllib.parse.quote(value, safe="")


def _fill(text: str, values: Mapping[str, str], way: Callable[[str], str] = str) -> str:
    """Replace names in braces by values; other braces, such as those of JSON, are kept."""
    return _NAME.sub(lambda m: way(values[m[1]]) if m[1] in values else m[0], text)
