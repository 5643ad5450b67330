"""The backend of the example stack: a small JSON API over two databases, a folder and a counter.

An answer with a status below 300 to a changing request means that the change is on disk (a
committed transaction, a synced file) or, for counters, acknowledged by redis. Bodies are JSON
objects unless said otherwise; errors are ``{"error": "…"}``.

========  =======================  ================================================================
GET       /health, /api/health     200 when both databases answer a query, else 503:
                                   ``{"status", "migrated", "databases": {NAME: {"answers",
                                   "revision"}}, "redis": "off"|"answers"|"silent"}``
GET       /api/severities          ``{"severities": [{"id", "name", "weight"}]}``
GET       /api/projects            ``{"projects": […]}``; ``?limit=``, ``?after=ID``
POST      /api/projects            ``{"name", "settings"?}`` → 201, the project
GET       /api/projects/ID         ``{"id", "name", "settings", "created_at"}``
PATCH     /api/projects/ID         any of what POST takes → the project
DELETE    /api/projects/ID         204; 409 while it has rules
GET       /api/rules               ``{"rules": […]}``; ``?project_id=``, ``?tag=``,
                                   ``?limit=``, ``?after=ID``
POST      /api/rules               ``{"project_id", "title", "body"?, "severity"? (name),
                                   "enabled"?, "definition"?, "tags"?: […]}`` → 201, the rule
GET       /api/rules/ID            the rule: the above and ``id, slug, created_at, updated_at``
PATCH     /api/rules/ID            any of what POST takes; ``tags`` replaces all → the rule
DELETE    /api/rules/ID            204
GET       /api/sessions            ``{"sessions": […]}``
POST      /api/sessions            ``{"name"}`` → 201, ``{"id" (uuid), "name", "started_at"}``
GET       /api/memories            ``{"memories": […]}`` without embeddings; ``?limit=``,
                                   ``?after=ID``
POST      /api/memories            ``{"content", "embedding"?: 384 numbers, "metadata"?,
                                   "importance"?, "session_id"?}`` → 201, the memory; without
                                   an embedding one is computed from the content
GET       /api/memories/ID         the memory with its embedding
DELETE    /api/memories/ID         204
POST      /api/memories/search     ``{"embedding" | "content", "limit"?: 10}`` →
                                   ``{"memories": […]}``, nearest first, with ``distance``
GET       /api/uploads             ``{"uploads": [{"path", "bytes"}]}``, sorted
PUT       /api/uploads/PATH        body: the file → 201 or 200 (replaced),
                                   ``{"path", "bytes", "sha256"}``; folders are made
GET       /api/uploads/PATH        the file
DELETE    /api/uploads/PATH        204
GET       /api/counters/NAME       ``{"name", "value"}``, 0 when never counted
POST      /api/counters/NAME       adds one → ``{"name", "value"}``; 503 without redis
GET       /static/NAME             a static file
========  =======================  ================================================================

``limit`` is 100 unless given, at most 1000. Lists are in the order of their ids.

Started by ``python3 -m rules_api``. Everything is set by environment variables:

``HOST``, ``PORT``
    where to listen; 127.0.0.1 and 8000
``RULESDB_URL``, ``MEMORYDB_URL``
    PostgreSQL URLs; or the parts below, which are taken literally
``POSTGRES_HOST``, ``POSTGRES_PORT`` (or ``DB_PORT``), ``POSTGRES_USER``, ``POSTGRES_PASSWORD``
    127.0.0.1, 5432, postgres, none; with ``RULESDB_NAME`` (rulesdb), ``MEMORYDB_NAME`` (memorydb)
``MEDIA_DIR``, ``STATIC_DIR``
    uploads and static files; ``media`` and ``staticfiles`` in the working directory
``LOG_DIR``
    a folder for ``backend.log``; not set: requests are logged to standard error only
``REDIS_HOST``, ``REDIS_PORT``
    counters are off without a host; 6379
``STOP_PATIENCE``
    seconds that requests under way get after a SIGTERM; 8, as Docker kills after 10
``RUN_AS``
    ``UID:GID`` to become after the folders were made, when started as root
"""
