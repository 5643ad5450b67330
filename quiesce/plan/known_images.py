"""What images and mount paths of well-known software say about the data in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

#: The last part of an image's name, and the software whose data files it contains.
_STORES: Mapping[str, str] = {
    **dict.fromkeys(("mariadb", "mariadb-galera"), "MariaDB"),
    **dict.fromkeys(("mysql", "mysql-server", "percona", "percona-server"), "MySQL"),
    **dict.fromkeys(("mongo", "mongodb", "mongodb-community-server"), "MongoDB"),
    **dict.fromkeys(
        ("redis", "valkey", "keydb", "dragonfly", "redis-stack", "redis-stack-server"), "Redis"
    ),
    "memcached": "memcached",
    **dict.fromkeys(("clickhouse", "clickhouse-server"), "ClickHouse"),
    "elasticsearch": "Elasticsearch",
    "opensearch": "OpenSearch",
    "meilisearch": "Meilisearch",
    "typesense": "Typesense",
    "qdrant": "Qdrant",
    "weaviate": "Weaviate",
    "influxdb": "InfluxDB",
    "victoria-metrics": "VictoriaMetrics",
    "prometheus": "Prometheus",
    "neo4j": "Neo4j",
    "couchdb": "CouchDB",
    "cassandra": "Cassandra",
}
#: Where these servers keep their data, by their images' documentation.
_DATA: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("MariaDB", "MySQL"), ("/var/lib/mysql",)),
    "MongoDB": ("/data/db", "/data/configdb"),
    "Redis": ("/data",),
    "ClickHouse": ("/var/lib/clickhouse",),
    "Elasticsearch": ("/usr/share/elasticsearch/data",),
    "OpenSearch": ("/usr/share/opensearch/data",),
    "Meilisearch": ("/meili_data",),
    "Typesense": ("/data",),
    "Qdrant": ("/qdrant/storage",),
    "Weaviate": ("/var/lib/weaviate",),
    "InfluxDB": ("/var/lib/influxdb", "/var/lib/influxdb2", "/var/lib/influxdb3"),
    "VictoriaMetrics": ("/victoria-metrics-data", "/storage"),
    "Prometheus": ("/prometheus",),
    "Neo4j": ("/data",),
    "CouchDB": ("/opt/couchdb/data",),
    "Cassandra": ("/var/lib/cassandra",),
}
_DATA_OF_BITNAMI = "/bitnami"
#: Images of PostgreSQL under other names; a name that merely mentions it may be a tool.
_POSTGRES = frozenset(
    "postgres postgresql pgvector postgis timescaledb timescaledb-ha pgvecto-rs paradedb "
    "vectorchord-postgres spilo citus postgres-ssl".split()
)
DATA_OF_POSTGRES = ("/var/lib/postgresql", "/bitnami/postgresql", "/home/postgres/pgdata")
DATA_OF_MARIADB = ("/var/lib/mysql", "/bitnami/mariadb")
#: The last folder of mount paths whose content the application creates again.
_CACHES = frozenset(
    "cache .cache caches model-cache models-cache transcodes transcode transcoding tmp temp "
    "node_modules __pycache__ thumbs-cache".split()
)
_LOGS = frozenset("log logs".split())
_ROOTS_OF_CACHES = ("/var/cache/", "/tmp/", "/root/.cache/", "/var/tmp/")  # noqa: S108
_ROOTS_OF_LOGS = ("/var/log/",)
#: Folders of the machine itself, which never contain data of an application.
SYSTEM = ("/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/usr", "/lib", "/bin", "/boot")
#: Ports on which no HTTP server listens.
NOT_HTTP = frozenset(
    {21, 22, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1883, 2222, 3306, 5432, 5353, 6379}
    | {8883, 9042, 11211, 27017, 51820}
)


def base_name(image: str) -> str:
    """Return the last part of an image's name, without registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def is_postgres(image: str) -> bool:
    """Whether this is an image of a PostgreSQL server."""
    return base_name(image) in _POSTGRES


def is_mariadb(image: str) -> bool:
    """Whether this is an image of a MariaDB server of its own, not of a cluster."""
    return base_name(image) == "mariadb"


def stores(image: str) -> str:
    """Return which server without a driver an image is, such as `MongoDB`, or ""."""
    return _STORES.get(base_name(image), "")


def server_of(image: str, target: str) -> str:
    """Return which server, such as `MongoDB`, has its data at this mount path, or ""."""
    software, folders = stores(image), _DATA.get(stores(image), ())
    if is_postgres(image):
        software, folders = "PostgreSQL", DATA_OF_POSTGRES
    inner = PurePosixPath(target)
    outer = [PurePosixPath(folder) for folder in (*folders, _DATA_OF_BITNAMI)]
    if any(one == inner or one in inner.parents or inner in one.parents for one in outer):
        return software
    return ""


def why_never(target: str) -> str:
    """Return why the content of a mount path needs no backup, "" if it does."""
    path = PurePosixPath(target)
    below = f"{path}/"
    if path.name.lower() in _CACHES or below.startswith(_ROOTS_OF_CACHES):
        return "cache"
    if path.name.lower() in _LOGS or below.startswith(_ROOTS_OF_LOGS):
        return "logs"
    return ""


def is_system(source: str) -> bool:
    """Whether a path of the host belongs to the machine and not to an application."""
    return source == "/" or any(source == root or source.startswith(f"{root}/") for root in SYSTEM)


_URL = re.compile(
    r"http://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::(?P<port>\d{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~/-]*)?(?=[\s\"'|&;)]|$)"
)


def url_of(command: str) -> tuple[int, str] | None:
    """Return port and path of the URL that a health check requests from its own service.

    None without one, or if it has a query: that may be a secret.
    """
    found = _URL.search(command)
    if found is None:
        return None
    return int(found["port"] or 80), found["path"] or "/"
