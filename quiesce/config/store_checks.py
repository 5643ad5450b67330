"""Rules for `stores:` and `encrypt:`: URLs without secrets, and public keys only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from quiesce.config.findings import Findings, YamlPath
from quiesce.config.scalars import Unresolved, show
from quiesce.config.schema import InstanceSection, StackFile
from quiesce.suggest import suggest

_SCHEMES = ("s3", "gs", "az", "file")
_HOW = "write s3://bucket/path, gs://…, az://…, a folder, or rclone:remote:path"
_AGE = re.compile(r"age1[0-9a-z]{50,}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?")


def check_stores(stack: StackFile, retentions: Sequence[str], findings: Findings) -> None:
    """Report every mistake in stores, in references to them, and in recipients."""
    for name, store in stack.stores.items():
        path: YamlPath = ("stores", name)
        if not isinstance(store.url, Unresolved) and (fact := url_problem(store.url)):
            findings.add((*path, "url"), *fact)
        if store.endpoint is not None and not isinstance(store.endpoint, Unresolved):
            address = urlsplit(store.endpoint)
            if address.username or address.password or address.query:
                # Not shown: it may be a secret.
                fact_ = "contains more than an address, for example credentials"
                hint_ = "use credentials_file, or the environment"
                findings.add((*path, "endpoint"), fact_, hint_)
            elif address.scheme not in ("http", "https") or not address.hostname:
                fact_ = f"{show(store.endpoint)} is not a URL"
                findings.add((*path, "endpoint"), fact_, "write it like https://s3.example.org")
        if store.retention is not None and not isinstance(store.retention, Unresolved):
            _expect(store.retention, retentions, (*path, "retention"), "retention", findings)
    for name, instance in stack.instances.items():
        _check_instance(("instances", name), instance, stack.stores, findings)
    _check_keys(stack, findings)


def url_problem(url: str) -> tuple[str, str] | None:
    """Return the problem of a store's URL, with a hint, or None."""
    if url.startswith("rclone:"):
        if re.fullmatch(r"rclone:[A-Za-z0-9_][\w.+@ -]*:[^\0]*", url):
            return None
        return "does not name an rclone remote", "write rclone:remote:path"
    if "://" not in url:
        return None
    try:
        parts = urlsplit(url)
        named = parts.hostname
    except ValueError:
        return "is not a URL", _HOW
    if parts.scheme not in _SCHEMES:
        return f"{show(parts.scheme)} is not a supported kind of store", _HOW
    if parts.username or parts.password or parts.query:
        # Not shown: it may be a secret.
        hint = "use credentials_file, or the environment"
        return "contains more than an address, for example credentials", hint
    if parts.scheme == "file":
        return (
            None if parts.path.startswith("/") and not parts.netloc else ("is not a folder", _HOW)
        )
    return None if named else ("does not name a bucket", _HOW)


def _check_instance(
    path: YamlPath, instance: InstanceSection, stores: Mapping[str, object], findings: Findings
) -> None:
    for index, name in enumerate(instance.stores):
        if not isinstance(name, Unresolved):
            _expect(name, list(stores), (*path, "stores", index), "stores", findings)


def _check_keys(stack: StackFile, findings: Findings) -> None:
    keys = stack.encrypt
    if keys.age and keys.gpg:
        fact = "has recipients for both age and gpg, but a set can only use one"
        findings.add(("encrypt",), fact, "keep one of the lists")
    if keys.where == "everywhere" and not keys.age and not keys.gpg:
        hint = "add a public key under age or gpg"
        findings.add(("encrypt", "where"), "is 'everywhere', but there are no recipients", hint)
    for index, key in enumerate(keys.age):
        if isinstance(key, Unresolved):
            continue
        if key.upper().startswith("AGE-SECRET-KEY-"):
            fact = "is a private key, which must not be in this file"
            findings.add(("encrypt", "age", index), fact, "write its public key, age1…")
        elif not _AGE.fullmatch(key):
            fact = f"{show(key)} is not an age recipient"
            findings.add(("encrypt", "age", index), fact, "write it like age1… or ssh-ed25519 …")
    for index, key in enumerate(keys.gpg):
        if not isinstance(key, Unresolved) and not re.fullmatch(r"[\w.+@<> -]+", key.lstrip("-")):
            findings.add(
                ("encrypt", "gpg", index),
                f"{show(key)} is not a key",
                "give a key id or an address",
            )


def _expect(
    name: str, known: Sequence[str], path: YamlPath, section: str, findings: Findings
) -> None:
    if name not in known:
        findings.add(path, f"there is no {show(name)} in {section}", suggest(name, known))
