"""Every kind of mistake in `stack.yaml` is told with its line, its place and what to write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quiesce.config import load_stack
from quiesce.errors import ConfigError, Problem

GOOD = """\
version: 1
instances:
  core: {retention: short}
retention:
  short: {keep_last: 3}
"""
HOST = """\
version: 1
instances:
  local: {runtime: host, retention: short}
retention:
  short: {keep_last: 3}
"""
KNOWN = (
    "version, timezone, default_instance, instances, databases, exclude_databases, volumes, "
    "exclude_volumes, paths, writers, restart, retention, services, schedule, "
    "stores, encrypt, notify, ping, metrics, before, after, probes, drill, legacy, "
    "max_downtime, lock_patience, signing_key_file, helper_image"
)
DOLLAR = "write '${NAME}' for a variable, or '$$' for a dollar sign"
LITERAL = (
    "a password must not be in this file "
    "(write '${NAME}' and define NAME in the env file, or use password_file)"
)
DATABASE = (
    "use letters, digits, _ - . and $, at most 63, not - . or $ first; 'name:' takes any name"
)
NAME = "use letters, digits, _ - and ., starting with a letter or digit, and no '..'"
PLAIN = "use a-z, 0-9, _ and -, starting with a letter or digit"
DURATION = "write it like 60s, 1h30m, 7d or 4w"
QUOTES = "check quotes, brackets and indentation here and just above"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a test, so that messages name files without a folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems_of(
    content: str | bytes, environ: dict[str, str] | None = None, instance: str | None = None
) -> tuple[Problem, ...]:
    """Load a stack.yaml that has mistakes, and return them."""
    file = Path("stack.yaml")
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        load_stack(file, instance, environ or {})
    return caught.value.problems


def told(content: str | bytes, environ: dict[str, str] | None = None) -> list[str]:
    """Load a stack.yaml that has mistakes, and return how they are told, without its name."""
    return [str(problem).removeprefix("stack.yaml:") for problem in problems_of(content, environ)]


TEXT = {
    "empty file": ("", "1: the file is empty (start with 'version: 1')"),
    "only comments": ("# nothing\n", "1: the file is empty (start with 'version: 1')"),
    "list": ("- a\n", "1: not a mapping (start with 'version: 1')"),
    "text": ("\nhello\n", "2: not a mapping (start with 'version: 1')"),
    "null": ("~\n", "1: not a mapping (start with 'version: 1')"),
    "tab": ("version: 1\n\tx: 1\n", "2: a tab where only spaces are allowed (use spaces)"),
    "colon": (
        "version: 1\npurpose: a: b\n",
        "2: an unexpected ':' (put the text in quotes, or check the indentation)",
    ),
    "no colon": ("version: 1\nfoo\nbar: 2\n", "3: a key without ':' (write 'key: value')"),
    "open bracket": (
        "version: [1\n",
        f"2: not valid YAML: expected ',' or ']', but got '<stream end>' ({QUOTES})",
    ),
    "open quote": (
        'version: "1\n',
        "2: a quote or bracket is not closed (close it, or put the whole text in quotes)",
    ),
    "brace after reference": (
        "version: [a${A}}]\n",
        f"1: not valid YAML: expected ',' or ']', but got '}}' ({QUOTES})",
    ),
    "alias": (
        "version: *one\n",
        "1: alias '*one' has no anchor (write '&one' before the value that is meant)",
    ),
    "two documents": (
        "version: 1\n---\na: 1\n",
        "2: a second document starts here (remove the '---')",
    ),
    "control character": (
        "version: 1\nx: \x07\n",
        "2: a character that YAML does not allow (U+0007) (remove it)",
    ),
    "not UTF-8": (b"version: 1\nx: \xe4\n", "2: not UTF-8 text (save the file as UTF-8)"),
    "UTF-16": ("version: 1\n".encode("utf-16"), "1: not UTF-8 text (save the file as UTF-8)"),
    "impossible escape": (
        'version: "\\UFFFFFFFF"\n',
        "1: not valid YAML (check the escapes in double quotes)",
    ),
    "deep": ("[" * 50, f"1: not valid YAML: nested deeper than 40 levels ({QUOTES})"),
}


@pytest.mark.parametrize(("content", "expected"), TEXT.values(), ids=TEXT)
def test_text_that_is_no_yaml_is_told_with_its_line(content: str | bytes, expected: str) -> None:
    """One mistake, as nothing after it can be understood."""
    assert told(content) == [expected]


def test_aliases_that_multiply_are_refused() -> None:
    """Nine lines that stand for a billion values are not written out."""
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (message,) = [line for line in told("\n".join(lines)) if "aliases" in line]
    assert message.endswith("more than 20,000 values after expanding aliases (use fewer aliases)")


def test_merges_that_multiply_are_refused() -> None:
    """The same with `<<`, where no value is written out."""
    lines = ["version: 1", "a0: &a0 {}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    assert any("use fewer aliases" in line for line in told("\n".join(lines)))


def test_a_file_that_cannot_be_read_is_told(folder: Path) -> None:
    """Absent, a folder, a named pipe, too large: none of them hangs or fails otherwise."""
    file = Path("stack.yaml")

    def message() -> str:
        with pytest.raises(ConfigError) as caught:
            load_stack(file, None, {})
        return str(caught.value)

    assert message() == "stack.yaml: does not exist (create it, or give another with --stack)"
    hint = "(check the path and its permissions)"
    file.mkdir()
    assert message() == f"stack.yaml: cannot be read: not a regular file {hint}"
    file.rmdir()
    os.mkfifo(file)
    assert message() == f"stack.yaml: cannot be read: not a regular file {hint}"
    file.unlink()
    file.write_text("#" * 1_000_001)
    assert message() == f"stack.yaml: cannot be read: larger than 1,000,000 bytes {hint}"


#: Lines added to GOOD, and what is told; line 6 is the first of them.
ADDED = {
    # keys
    "unknown key": ("voulmes: {}", "6: voulmes: unknown key 'voulmes' (did you mean 'volumes'?)"),
    "unlike any": ("zzz: 1", f"6: zzz: unknown key 'zzz' (known: {KNOWN})"),
    "elsewhere": (
        "stop_timeout: 3s",
        "6: stop_timeout: unknown key 'stop_timeout' (it belongs to 'restart')",
    ),
    "misspelt in a section": (
        "databases:\n  rulesdb: {servise: db}",
        "7: databases.rulesdb.servise: unknown key 'servise' (did you mean 'service'?)",
    ),
    "key that is no text": ("[a]: 1", "6: a key is not text (write 'key: value')"),
    "duplicate key": (
        "volumes:\n  a: {}\n  a: {}",
        "8: volumes.a: 'a' occurs twice, first in line 7 (keep one of them)",
    ),
    "duplicate in a flow": (
        "restart: {order: [a], order: [b]}",
        "6: restart.order: 'order' occurs twice, first in line 6 (keep one of them)",
    ),
    "duplicate version": (
        "version: 1",
        "6: version: 'version' occurs twice, first in line 1 (keep one of them)",
    ),
    "tag": (
        "timezone: !!python/name:os.system x",
        "6: timezone: the tag '!!python/name:os.system' is not supported (remove it)",
    ),
    "binary": (
        "timezone: !!binary aGk=",
        "6: timezone: the tag '!!binary' is not supported (remove it)",
    ),
    "escape to nothing": (
        'timezone: "\\0"',
        "6: timezone: contains a character that is not allowed (remove the escape)",
    ),
    "alias to itself": (
        "writers: &w {services: [*w]}",
        "6: writers.services[0]: an alias to a value that contains it (write the value itself)",
    ),
    "merge of itself": (
        "writers: &w {<<: *w}",
        "6: writers: an alias to a value that contains it (write the value itself)",
    ),
    "merge of text": (
        "writers: {<<: a}",
        "6: writers: '<<' takes mappings only (write '<<: *anchor')",
    ),
    # kinds of values
    "no value": (
        "max_downtime:",
        "6: max_downtime: has no value (give it a value, or remove the key)",
    ),
    "empty text": ("timezone: ''", "6: timezone: is empty (give it a value, or remove the key)"),
    "no section": ("volumes:", "6: volumes: has no value (give it a value, or remove the key)"),
    "true": ("timezone: true", "6: timezone: expected text, found true (put it in quotes)"),
    "list for text": ("timezone: [a]", "6: timezone: expected text, found a list"),
    "text for mapping": (
        "volumes: a",
        "6: volumes: expected a mapping, found text (write 'key: value' below it)",
    ),
    "text for section": (
        "volumes: {a: b}",
        "6: volumes.a: expected a mapping, found text (write 'key: value' below it)",
    ),
    "text for list": (
        "exclude_volumes: a",
        "6: exclude_volumes: expected a list, found text "
        "(write [one, two], or one line '- one' for each)",
    ),
    "mapping in list": (
        "exclude_volumes: [{a: b}]",
        "6: exclude_volumes[0]: expected text, found a mapping",
    ),
    "number": ("max_downtime: 60", f"6: max_downtime: '60' is not a duration ({DURATION})"),
    "unit": ("max_downtime: 5 min", f"6: max_downtime: '5 min' is not a duration ({DURATION})"),
    "units the wrong way": (
        "max_downtime: 5s1m",
        f"6: max_downtime: '5s1m' is not a duration ({DURATION})",
    ),
    "no time": (
        "lock_patience: 0s",
        "6: lock_patience: '0s' is out of range (give more than 0s and at most 100 years)",
    ),
    "too long": (
        "lock_patience: 99999w",
        "6: lock_patience: '99999w' is out of range (give more than 0s and at most 100 years)",
    ),
    "size": (
        "volumes: {a: {max_size: 2G}}",
        "6: volumes.a.max_size: '2G' is not a size (write it like 500MB or 2GiB)",
    ),
    "hexadecimal": (
        "databases: {a: {service: db, port: 0x10}}",
        "6: databases.a.port: expected a whole number, found '0x10' (write digits only)",
    ),
    "octal": (
        "databases: {a: {service: db, port: 0700}}",
        "6: databases.a.port: expected a whole number, found '0700' (write digits only)",
    ),
    "port": (
        "databases: {a: {service: db, port: 65536}}",
        "6: databases.a.port: '65536' is out of range (write a number from 1 to 65535)",
    ),
    "choice": (
        "volumes: {a: {backup: by-dmp}}",
        "6: volumes.a.backup: 'by-dmp' is not a known value: files, by-dump, never "
        "(did you mean 'by-dump'?)",
    ),
    "other choice": (
        "volumes: {a: {clean: yes}}",
        "6: volumes.a.clean: 'yes' is not a known value (known: logs, cache)",
    ),
    "missing": (
        "databases:\n  a: {user: x}",
        "7: databases.a.service: is missing (add 'service:')",
    ),
    "time zone": (
        "timezone: Europe/Berln",
        "6: timezone: 'Europe/Berln' is not a time zone (did you mean 'Europe/Berlin'?)",
    ),
    "no time zone": (
        "timezone: 12345",
        "6: timezone: '12345' is not a time zone (write it like Europe/Berlin or UTC)",
    ),
    # names
    "database name": (
        "databases: {ru/les: {service: db}}",
        f"6: databases.ru/les: 'ru/les' is not a key for a database ({DATABASE})",
    ),
    "database names but for capitals": (
        "databases: {a: {service: db}, A: {service: db}}",
        "6: databases.A: 'a' differs only in upper and lower case, and their file names could "
        "collide "
        "(choose another key, and give the database's name in 'name:')",
    ),
    "long database name": (
        f"databases: {{a: {{service: db, name: {'n' * 64}}}}}",
        f"6: databases.a.name: '{'n' * 57}...' is not a valid database name "
        "(use 1 to 63 bytes, without control characters)",
    ),
    "service name": (
        "databases: {a: {service: --help}}",
        f"6: databases.a.service: '--help' is not a service name ({NAME})",
    ),
    "volume key": ("volumes: {../a: {}}", f"6: volumes.../a: '../a' is not a volume key ({NAME})"),
    "dots": ("volumes: {a..b: {}}", f"6: volumes.a..b: 'a..b' is not a volume key ({NAME})"),
    "slash": (
        "exclude_volumes: [a/b]",
        f"6: exclude_volumes[0]: 'a/b' is not a volume key ({NAME})",
    ),
    "image": (
        "helper_image: --rm",
        "6: helper_image: '--rm' is not the name of an image (write it like debian:12-slim)",
    ),
    "pattern": (
        "volumes: {a: {exclude: [/etc]}}",
        "6: volumes.a.exclude[0]: '/etc' is not a pattern relative to the volume "
        "(write a pattern that starts at the volume's root, like 'cache/*')",
    ),
    "probe of nothing": (
        "probes: [{service: web, port: 80}]",
        "6: probes[0]: is neither an HTTP probe nor a query "
        "(give either service, port and path, or database and query)",
    ),
    "probe that is no mapping": (
        "probes: [{service: web, port: 80, path: /}, health]",
        "6: probes[1]: expected a mapping, found text (write 'key: value' below it)",
    ),
    "write without what is needed": (
        "drill: {writes: [{service: web, port: 80, path: '/{mark}'}]}",
        "6: drill.writes[0].read: is missing (add 'read:')",
    ),
    "probe of an unknown database": (
        "probes: [{database: rules, query: SELECT true}]",
        "6: probes[0].database: 'rules' is not in databases (known: none)",
    ),
    "write without a mark": (
        "drill: {writes: [{service: web, port: 80, path: /notes, read: /notes}]}",
        "6: drill.writes[0]: does not write the marker (put {mark} into its path or its body)",
    ),
    "write that is read nowhere": (
        "drill: {writes: [{service: web, port: 80, path: '/{mark}', read: notes}]}",
        "6: drill.writes[0].read: 'notes' is not a URL path (start it with /)",
    ),
    "store with a password in it": (
        "stores: {a: {url: 's3://me:secret@bucket/x'}}",
        "6: stores.a.url: contains more than an address, for example credentials "
        "(use credentials_file, or the environment)",
    ),
    "store of an unknown kind": (
        "stores: {a: {url: 'ftp://host/x'}}",
        "6: stores.a.url: 'ftp' is not a supported kind of store "
        "(write s3://bucket/path, gs://…, az://…, a folder, or rclone:remote:path)",
    ),
    "store with credentials in its endpoint": (
        "stores: {a: {url: 's3://bucket', endpoint: 'https://example.org/?key=hunter2'}}",
        "6: stores.a.endpoint: contains more than an address, for example credentials "
        "(use credentials_file, or the environment)",
    ),
    "store with an endpoint that is none": (
        "stores: {a: {url: 's3://bucket', endpoint: minio}}",
        "6: stores.a.endpoint: 'minio' is not a URL (write it like https://s3.example.org)",
    ),
    "store with unknown rules": (
        "stores: {a: {url: 's3://bucket', retention: long}}",
        "6: stores.a.retention: there is no 'long' in retention (known: short)",
    ),
    "secret key of age": (
        "encrypt: {age: [AGE-SECRET-KEY-1XXXX]}",
        "6: encrypt.age[0]: is a private key, which must not be in this file "
        "(write its public key, age1…)",
    ),
    "recipients of two kinds": (
        "encrypt: {age: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudcajm3qgvx2h4],"
        " gpg: [me@example.org]}",
        "6: encrypt: has recipients for both age and gpg, but a set can only use one "
        "(keep one of the lists)",
    ),
    "everything encrypted for nobody": (
        "encrypt: {where: everywhere}",
        "6: encrypt.where: is 'everywhere', but there are no recipients "
        "(add a public key under age or gpg)",
    ),
    "address that stands in the file": (
        "notify: [{url: 'ntfy://topic'}]",
        "6: notify[0].url: a URL that grants access must not be in this file "
        "(write '${NAME}' and define NAME in the env file)",
    ),
    "ping of a task that is none": (
        "ping: {backups: {}}",
        "6: ping.backups: 'backups' is not a known value: backup, verify, drill, prune, "
        "push, shutdown (did you mean 'backup'?)",
    ),
    "command without a service": (
        "before: [{command: [sync]}]",
        "6: before[0].service: is missing (add 'service:')",
    ),
    "legacy of an unknown volume": (
        "legacy: {media: uploads}",
        "6: legacy.media: 'uploads' is not in volumes (known: none)",
    ),
    # what this version does not do
    "profiles of the stack": (
        "profiles: [a]",
        "6: profiles: 'profiles' is not supported by this version (remove it)",
    ),
    "dump of a database": (
        "databases: {a: {service: db, dump: in-window}}",
        "6: databases.a.dump: 'dump' is not supported by this version (remove it)",
    ),
    "migrations in a service": (
        "databases: {a: {service: db, migrations: {service: web}}}",
        "6: databases.a.migrations: expected text, found a mapping",
    ),
    # passwords
    "literal": (
        "databases: {a: {service: db, password: hunter2}}",
        f"6: databases.a.password: {LITERAL}",
    ),
    "number for password": (
        "databases: {a: {service: db, password: 12345}}",
        f"6: databases.a.password: {LITERAL}",
    ),
    "true for password": (
        "databases: {a: {service: db, password: true}}",
        f"6: databases.a.password: {LITERAL}",
    ),
    "partly literal": (
        "databases: {a: {service: db, password: 'x${HOME}'}}",
        f"6: databases.a.password: {LITERAL}",
    ),
    "literal default": (
        "databases: {a: {service: db, password: '${P:-hunter2}'}}",
        f"6: databases.a.password: {LITERAL}",
    ),
    "literal with a dollar": (
        "databases: {a: {service: db, password: 'hunter$2'}}",
        f"6: databases.a.password: {LITERAL}",
    ),
    "no password file": (
        "databases: {a: {service: db, password_file: absent}}",
        "6: databases.a.password_file: cannot read 'absent': No such file or directory "
        "(check the path)",
    ),
    "folder as password file": (
        "databases: {a: {service: db, password_file: .}}",
        "6: databases.a.password_file: cannot read '.': not a regular file (check the path)",
    ),
    "password file of two lines": (
        "databases: {a: {service: db, password_file: stack.yaml}}",
        "6: databases.a.password_file: 'stack.yaml' does not contain exactly one line "
        "(put only the password into it)",
    ),
    # variables
    "dollar": ("timezone: $TZ", f"6: timezone: a '$' that does not start a variable ({DOLLAR})"),
    "open brace": ("timezone: '${TZ'", "6: timezone: a '${' is not closed (write '${NAME}')"),
    "bad name": (
        "timezone: '${1}'",
        f"6: timezone: a '$' that does not start a variable ({DOLLAR})",
    ),
    "bad operator": (
        "timezone: '${TZ!x}'",
        "6: timezone: unexpected character after the name in '${TZ' "
        "(write '${NAME}' or '${NAME:-default}')",
    ),
    "too many defaults": (
        f"timezone: '{'${A:-' * 12}x{'}' * 12}'",
        "6: timezone: '${' nested too deeply (use fewer defaults of defaults)",
    ),
    "undefined": (
        "timezone: ${ZONE}",
        "6: timezone: variable 'ZONE' is not defined (define it in .env)",
    ),
    "needed": (
        "timezone: ${ZONE:?where are you}",
        "6: timezone: variable 'ZONE' is not defined: where are you (define it in .env)",
    ),
    "needed and empty": (
        "timezone: ${EMPTY:?where are you}",
        "6: timezone: variable 'EMPTY' is empty: where are you (EMPTY is empty in the "
        "environment: give it a value there or in .env)",
    ),
    "empty": (
        "timezone: ${EMPTY}",
        "6: timezone: '${EMPTY}' is empty (EMPTY is empty in the environment: give it a value "
        "there or in .env)",
    ),
    "value of a variable": (
        "max_downtime: ${SECRET}",
        f"6: max_downtime: '${{SECRET}}' is not a duration ({DURATION})",
    ),
    "name from a variable": (
        "helper_image: x ${SECRET}",
        "6: helper_image: 'x ${SECRET}' is not the name of an image (write it like debian:12-slim)",
    ),
    # more than one value
    "same database": (
        "databases:\n  a: {service: db}\n  b: {service: db, name: a}",
        "8: databases.b: is the same database as 'a' in line 7 "
        "(remove one, or give it another 'name:')",
    ),
    "excluded database": (
        "databases: {a: {service: db, name: x}}\nexclude_databases: [x]",
        "6: databases.a: also excluded in line 7 (remove it here or from 'exclude_databases')",
    ),
    "excluded volume": (
        "volumes: {a: {}}\nexclude_volumes: [a]",
        "6: volumes.a: also excluded in line 7 (remove it here or from 'exclude_volumes')",
    ),
    "by-dump": (
        "volumes: {a: {backup: by-dump}}",
        "6: volumes.a.backup: 'by-dump' without any declared database: this volume would not "
        "be backed up "
        "(declare its databases in 'databases:', or use 'backup: files')",
    ),
    "clean a database": (
        "databases: {a: {service: db}}\nvolumes: {a: {backup: by-dump, clean: cache}}",
        "7: volumes.a.clean: the volume of a database cannot be cleaned (remove 'clean')",
    ),
    "twice in the order": (
        "restart:\n  order:\n    - a\n    - b\n    - a",
        "10: restart.order[2]: 'a' occurs twice, first in line 8 (keep one of them)",
    ),
    "no migrations": (
        "databases: {a: {service: db, migrations: alembic.ini}}",
        "6: databases.a.migrations: 'alembic.ini' does not exist (paths are relative to FOLDER/)",
    ),
    # paths
    "path without a way of backup": (
        "paths: {a: {path: a}}",
        "6: paths.a.backup: is missing (add 'backup:')",
    ),
    "path of home": (
        "paths: {a: {path: ~/x, backup: files}}",
        "6: paths.a.path: '~/x' starts with '~' (write the whole path of the folder)",
    ),
    **{
        f"path {path}, {way}": (
            f"paths: {{a: {{path: {path}, {way}}}}}",
            f"6: paths.a.path: '{path}' cannot be {done} without '{name}': one contains the other "
            "(give a folder that contains data only, such as './data')",
        )
        for path, name in (
            (".", "stack.yaml"),
            ("..", "stack.yaml"),
            ("/", "stack.yaml"),
            ("backups", "backups"),
            ("backups/core", "backups"),
            ("stack.yaml", "stack.yaml"),
            (".quiesce/core", ".quiesce"),
            (".env", ".env"),
        )
        for way, done in (
            ("backup: files", "kept"),
            ("backup: never, clean: logs", "cleaned"),
        )
    },
    "linked path": (
        "paths: {a: {path: link/x, backup: files}}",
        "6: paths.a.path: 'link/x' contains a symbolic link "
        "(write the folder that it leads to: /var/x)",
    ),
    "path that is a volume": (
        "volumes: {a: {}}\npaths:\n  a: {path: a, backup: files}",
        "8: paths.a: is also in 'volumes' in line 6 (give the path another key, such as a-folder)",
    ),
    "path that is an excluded volume": (
        "exclude_volumes: [a]\npaths:\n  a: {path: a, backup: files}",
        "8: paths.a: is also in 'exclude_volumes' in line 6 "
        "(give the path another key, such as a-folder)",
    ),
    "path by dump without databases": (
        "paths: {a: {path: a, backup: by-dump}}",
        "6: paths.a.backup: 'by-dump' without any declared database: this path would not be "
        "backed up (declare its databases in 'databases:', or use 'backup: files')",
    ),
    "path in a path": (
        "paths:\n  a: {path: a, backup: files}\n  b: {path: a/b, backup: files}",
        "8: paths.b.path: one of 'a/b' and path 'a' in line 7 contains the other "
        "(remove 'b', because sets contain it with 'a'; or move the folder of 'b' out of the "
        "folder of 'a')",
    ),
    "path of a server in a path": (
        "databases: {d: {service: db}}\n"
        "paths:\n  a: {path: a, backup: files}\n  b: {path: a/b, backup: by-dump}",
        "9: paths.b.path: one of 'a/b' and path 'a' in line 8 contains the other "
        "(move the folder of 'b' out of the folder of 'a'; or replace 'a' by the other "
        "folders in it that are to be backed up)",
    ),
    "path in the path of a server": (
        "databases: {d: {service: db}}\n"
        "paths:\n  a: {path: a, backup: by-dump}\n  b: {path: a/b, backup: files}",
        "9: paths.b.path: one of 'a/b' and path 'a' in line 8 contains the other "
        "(move the folder of 'b' out of the folder of 'a')",
    ),
    "path around a path": (
        "paths:\n  a: {path: a/c/d, backup: never}\n  b: {path: ./a, backup: files}",
        "8: paths.b.path: one of './a' and path 'a' in line 7 contains the other "
        "(remove 'a', because sets contain it with 'b'; or move the folder of 'a' out of the "
        "folder of 'b')",
    ),
    "path twice": (
        "paths:\n  a: {path: a, backup: files}\n  b: {path: ./a/, backup: never, clean: logs}",
        "8: paths.b.path: one of './a/' and path 'a' in line 7 contains the other "
        "(keep one of them)",
    ),
}


@pytest.mark.parametrize(("lines", "expected"), ADDED.values(), ids=ADDED)
def test_a_mistake_is_told_with_line_place_and_hint(
    folder: Path, lines: str, expected: str
) -> None:
    """Exactly this mistake and no other, without a value of a variable."""
    (folder / "link").symlink_to("/var")
    environ = {"SECRET": "dont tell", "EMPTY": ""}
    assert told(f"{GOOD}{lines}\n", environ) == [expected.replace("FOLDER", folder.name)]


INSTANCES = {
    "no version": (GOOD.replace("version: 1\n", ""), "1: version: is missing (add 'version:')"),
    "other version": (
        GOOD.replace("version: 1", "version: 2"),
        "1: version: version '2' is not supported "
        "(write 'version: 1', or use a newer version of Quiesce)",
    ),
    "no instances": ("version: 1\n", "1: instances: is missing (add 'instances:')"),
    "empty instances": ("version: 1\ninstances: {}\n", "2: instances: has no entry (add one)"),
    "instances of text": (
        "version: 1\ninstances: core\n",
        "2: instances: expected a mapping, found text (write 'key: value' below it)",
    ),
    "instance name": (
        GOOD.replace("core:", "Core:"),
        f"3: instances.Core: 'Core' is not an instance name ({PLAIN})",
    ),
    "no retention": (
        GOOD.replace("{retention: short}", "{runtime: compose}"),
        "3: instances.core.retention: is missing (add 'retention:')",
    ),
    "unknown retention": (
        GOOD.replace("{retention: short}", "{retention: shrt}"),
        "3: instances.core.retention: there is no 'shrt' in retention (did you mean 'short'?)",
    ),
    "no retention at all": (
        "version: 1\ninstances:\n  core: {retention: r}\n",
        "3: instances.core.retention: there is no 'r' in retention "
        "(add 'retention:' with this entry)",
    ),
    "retention without rule": (
        GOOD.replace("{keep_last: 3}", "{}"),
        "5: retention.short: has no rule, so no set would be kept "
        "(write at least one, for example 'keep_last: 7')",
    ),
    "retention of nothing": (
        GOOD.replace("{keep_last: 3}", "{keep_last: 0}"),
        "5: retention.short.keep_last: '0' is out of range (write a number from 1 to 100000)",
    ),
    "unknown default": (
        f"{GOOD}default_instance: cor\n",
        "6: default_instance: there is no instance 'cor' (did you mean 'core'?)",
    ),
    "no default": (
        GOOD.replace("short}\n", "short}\n  local: {runtime: host, retention: short}\n", 1),
        "2: default_instance is missing (add 'default_instance: core')",
    ),
    "runtime": (
        GOOD.replace("{retention", "{runtime: hots, retention"),
        "3: instances.core.runtime: 'hots' is not a known value: compose, host "
        "(did you mean 'host'?)",
    ),
    "project name": (
        GOOD.replace("{retention", "{project: My App, retention"),
        f"3: instances.core.project: 'My App' is not a Compose project name ({PLAIN})",
    ),
    "context": (
        GOOD.replace("{retention", "{context: -H, retention"),
        "3: instances.core.context: '-H' is not the name of a Docker context "
        "(see 'docker context ls')",
    ),
    "compose file": (
        GOOD.replace("{retention", "{files: [absent.yml], retention"),
        "3: instances.core.files[0]: 'absent.yml' does not exist (paths are relative to FOLDER/)",
    ),
    "files on the host": (
        HOST.replace("{runtime", "{files: [a.yml], runtime"),
        "3: instances.local.files: applies to 'runtime: compose' only (remove it)",
    ),
    "same project": (
        GOOD.replace("short}\n", "short}\n  two: {retention: short, project: core}\n", 1)
        + "default_instance: two\n",
        "4: instances.two.project: project 'core' is also the project of instance 'core' "
        "(give each instance its own 'project:')",
    ),
    "notifications of an instance": (
        GOOD.replace("{retention", "{notify: daily, retention"),
        "3: instances.core.notify: unknown key 'notify' (known: runtime, env_file, files, project, "
        "context, profiles, retention, stores)",
    ),
    "env file": (
        GOOD.replace("{retention", "{env_file: absent.env, retention"),
        "3: instances.core.env_file: 'absent.env' does not exist (create it, or remove 'env_file')",
    ),
    "env file with an example": (
        GOOD.replace("{retention", "{env_file: there.env, retention"),
        "3: instances.core.env_file: 'there.env' does not exist "
        "(run 'cp there.env.example there.env' and fill it in)",
    ),
    "env folder": (
        GOOD.replace("{retention", "{env_file: ., retention"),
        "3: instances.core.env_file: cannot read '.': not a regular file (check the path)",
    ),
    "undefined env file": (
        GOOD.replace("{retention", "{env_file: '${WHERE}', retention"),
        "3: instances.core.env_file: variable 'WHERE' is not defined (define it in .env)",
    ),
}


@pytest.mark.parametrize(("content", "expected"), INSTANCES.values(), ids=INSTANCES)
def test_a_mistake_of_an_instance_is_told(folder: Path, content: str, expected: str) -> None:
    """Exactly this mistake and no other."""
    (folder / "there.env.example").touch()
    assert told(content) == [expected.replace("FOLDER", folder.name)]


SERVICES = {
    "unknown service": (
        "databases: {a: {service: bd}}\nservices: {db: {postgres: embedded}}",
        "6: databases.a.service: there is no service 'bd' (known: db)",
    ),
    "no services": (
        "databases: {a: {service: db}}",
        "6: databases.a.service: there is no service 'db' (add it to 'services:')",
    ),
    "no database server": (
        "databases: {a: {service: web}}\nservices: {web: {command: run}}",
        "6: databases.a.service: the service 'web' is not a database server "
        "(give it 'postgres: embedded' instead of a command)",
    ),
    "neither": (
        "services: {web: {}}",
        "6: services.web: needs either 'command' or 'postgres' "
        "(write 'command: [program, argument]' or 'postgres: embedded')",
    ),
    "both": (
        "services: {web: {command: a, postgres: embedded}}",
        "6: services.web: needs either 'command' or 'postgres' "
        "(write 'command: [program, argument]' or 'postgres: embedded')",
    ),
    "empty command": (
        "services: {web: {command: []}}",
        "6: services.web.command: the command is empty (write it like [python, -m, app])",
    ),
    "open quote": (
        "services: {web: {command: 'a \"b'}}",
        "6: services.web.command: 'a \"b' has an unclosed quote (write the command as a list)",
    ),
    "user of a program": (
        "services: {web: {command: a, user: bob}}",
        "6: services.web.user: applies to 'postgres: embedded' only "
        "(use 'environment:' for a program)",
    ),
    "two health checks": (
        "services: {web: {command: a, port: 1, health: b, health_http: /}}",
        "6: services.web.health_http: a 'health' command is also given (keep one of them)",
    ),
    "no port": (
        "services: {web: {command: a, health_http: /}}",
        "6: services.web.health_http: needs 'port' (add 'port:')",
    ),
    "health path": (
        "services: {web: {command: a, port: 1, health_http: health}}",
        "6: services.web.health_http: 'health' is not a URL path (write it like /health)",
    ),
    "unknown volume": (
        "services: {web: {command: a, volumes: {medai: DIR}}}\nvolumes: {media: {}}",
        "6: services.web.volumes.medai: there is no volume 'medai' (did you mean 'media'?)",
    ),
    "variable name": (
        "services: {web: {command: a, volumes: {media: A-B}}}\nvolumes: {media: {}}",
        "6: services.web.volumes.media: 'A-B' is not the name of a variable "
        "(use letters, digits and _)",
    ),
    "unknown dependency": (
        "services: {web: {command: a, depends_on: [bd]}, db: {postgres: embedded}}",
        "6: services.web.depends_on[0]: there is no service 'bd' (known: web, db)",
    ),
    "cycle": (
        "services:\n"
        "  a: {command: a, depends_on: [b]}\n"
        "  b: {command: a, depends_on: [c]}\n"
        "  c: {command: a, depends_on: [d, b]}\n"
        "  d: {command: a}",
        "8: services.b.depends_on: services depend on each other in a cycle: b → c → b "
        "(break the cycle in one 'depends_on')",
    ),
    "order against dependency": (
        "services:\n"
        "  a: {command: a}\n"
        "  b:\n"
        "    command: a\n"
        "    depends_on:\n"
        "      - a\n"
        "restart:\n"
        "  order:\n"
        "    - b\n"
        "    - a",
        "14: restart.order[0]: 'b' starts before 'a', but depends on it in line 11 "
        "(move 'a' before 'b')",
    ),
    "unknown in the order": (
        "services: {web: {command: a}}\nrestart: {order: [wbe]}",
        "7: restart.order[0]: there is no service 'wbe' (did you mean 'web'?)",
    ),
    "signal": (
        "services: {web: {command: a, stop_signal: STOPP}}",
        "6: services.web.stop_signal: 'STOPP' is not a signal (write it like SIGTERM or SIGINT)",
    ),
    "folder": (
        "services: {web: {command: a, cwd: absent}}",
        "6: services.web.cwd: the folder 'absent' does not exist (paths are relative to FOLDER/)",
    ),
    "environment": (
        "services: {web: {command: a, environment: {A: [b]}}}",
        "6: services.web.environment.A: expected text, found a list",
    ),
    "literal password": (
        "services: {db: {postgres: embedded, password: hunter2}}",
        f"6: services.db.password: {LITERAL}",
    ),
    "two passwords": (
        "services: {db: {postgres: embedded, password: '${PW}', password_file: pw}}",
        "6: services.db.password_file: 'password' is also given (keep one of them)",
    ),
}


@pytest.mark.parametrize(("lines", "expected"), SERVICES.values(), ids=SERVICES)
def test_a_mistake_of_a_host_service_is_told(folder: Path, lines: str, expected: str) -> None:
    """Exactly this mistake and no other."""
    (folder / "pw").write_text("x\n")
    assert told(f"{HOST}{lines}\n", {"PW": "x"}) == [expected.replace("FOLDER", folder.name)]


def test_a_file_with_ten_mistakes_tells_ten_with_their_lines(folder: Path) -> None:
    """Text, shape, variables, other sections and the env file, all at once and in order."""
    (folder / "core.env").write_text("A=1\nB='open\n")
    content = """\
version: 1
timezone: Mars/Base
instances:
  core: {env_file: core.env, retention: shrt, projekt: x}
databases:
  rulesdb: {servise: db, password: hunter2}
volumes:
  media: {backup: sometimes}
  media: {}
restart:
  order: [a, a]
retention:
  short: {keep_last: some}
"""
    problems = problems_of(content)
    assert [(problem.file, problem.line, problem.path) for problem in problems] == [
        ("stack.yaml", 2, "timezone"),
        ("stack.yaml", 4, "instances.core.projekt"),
        ("stack.yaml", 4, "instances.core.retention"),
        ("stack.yaml", 6, "databases.rulesdb.password"),
        ("stack.yaml", 6, "databases.rulesdb.servise"),
        ("stack.yaml", 8, "volumes.media.backup"),
        ("stack.yaml", 9, "volumes.media"),
        ("stack.yaml", 11, "restart.order[1]"),
        ("stack.yaml", 13, "retention.short.keep_last"),
        ("core.env", 2, "B"),
    ]
    error = ConfigError(problems)
    assert error.fact == "stack.yaml has 10 mistakes"
    assert error.exit_code == 2
    assert "hunter2" not in "\n".join([error.fact, error.hint, *error.details])


def test_a_missing_variable_names_the_env_file_and_the_nearest_known_one(folder: Path) -> None:
    """Where to define it, and what it was probably meant to be."""
    (folder / "env").mkdir()
    (folder / "env/core.env").write_text("POSTGRES_PASSWORD=x\n")
    content = GOOD.replace("{retention", "{env_file: env/core.env, retention")
    content += "databases: {a: {service: db, password: ${POSTGRES_PASWORD}}}\n"
    assert told(content) == [
        "6: databases.a.password: variable 'POSTGRES_PASWORD' is not defined "
        "(define it in env/core.env; did you mean 'POSTGRES_PASSWORD'?)"
    ]


def test_variables_are_not_called_undefined_when_their_file_is_missing(folder: Path) -> None:
    """The missing file is the mistake."""
    content = GOOD.replace("{retention", "{env_file: absent.env, retention")
    content += "databases: {a: {service: db, password: ${PW}}}\n"
    assert [problem.path for problem in problems_of(content)] == ["instances.core.env_file"]


def test_other_instances_are_checked_in_shape_but_need_no_env_file(folder: Path) -> None:
    """A misspelt key is told; a variable that only they have is not."""
    content = GOOD.replace(
        "short}\n",
        "short}\n  other: {env_file: no.env, project: ${THEIRS}, contxt: a, retention: short}\n",
        1,
    )
    assert told(f"{content}default_instance: core\n") == [
        "4: instances.other.contxt: unknown key 'contxt' (did you mean 'context'?)"
    ]


def test_a_time_zone_of_the_environment_that_does_not_exist_is_told(folder: Path) -> None:
    """Names in the wrong zone would be worse; the value itself is not shown."""
    assert told(GOOD, {"TZ": "Mars/Base"}) == [
        "1: timezone: the environment variable TZ is not a time zone "
        "(add 'timezone: Europe/Berlin', or unset TZ)"
    ]


def test_a_path_that_holds_the_env_file_or_a_compose_file_is_refused(folder: Path) -> None:
    """Cleaning it would take the stack's own files."""
    (folder / "env").mkdir()
    (folder / "env/core.env").touch()
    (folder / "docker").mkdir()
    (folder / "docker/compose.yml").touch()
    content = GOOD.replace(
        "{retention", "{env_file: env/core.env, files: [docker/compose.yml], retention"
    )
    content += (
        "paths:\n  a: {path: env, backup: never, clean: logs}\n  b: {path: docker, backup: files}\n"
    )
    assert [problem.fact for problem in problems_of(content)] == [
        "'env' cannot be cleaned without 'core.env': one contains the other",
        "'docker' cannot be kept without 'compose.yml': one contains the other",
    ]


def test_an_alias_with_a_mistake_is_told_at_each_place_with_the_line_it_is_written_in(
    folder: Path,
) -> None:
    """The line is where it has to be corrected."""
    content = GOOD + "databases:\n  a: &a {service: db, port: x}\n  b: {<<: *a, name: b}\n"
    fact = "expected a whole number, found 'x' (write digits only)"
    assert told(content) == [
        f"7: databases.a.port: {fact}",
        f"7: databases.b.port: {fact}",
    ]
