"""``python3 -m rules_api``: serve until SIGTERM, SIGINT or SIGHUP."""

import os
import signal
import sys
import threading

from .log import log, open_log
from .routes import Api
from .server import Server
from .settings import Settings, read_settings
from .static import collect_static

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main() -> int:
    """Serve, and return the exit code: 0 when every request that was begun has been answered."""
    # blocked in every thread from here on, so that sigwait below is the only one to get them
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    settings = read_settings(os.environ)
    prepare(settings)
    api = Api(settings)
    server = Server((settings.host, settings.port), api)
    log(f"listening on {server.server_name}:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    received = signal.sigwait(SIGNALS)
    finished = server.finish(settings.patience)
    api.close()
    log(f"{signal.Signals(received).name}: {'ended' if finished else 'ended with requests open'}")
    return 0 if finished else 1


def prepare(settings: Settings) -> None:
    """Make the folders, give root's up for the user of ``RUN_AS``, and collect static files."""
    folders = [settings.media, settings.static, *([settings.logs] if settings.logs else [])]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    if settings.run_as and os.getuid() == 0:
        user, group = settings.run_as
        for folder in folders:
            # the folder only: what lies in it was written by this user, or by whoever restored it
            os.chown(folder, user, group)
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if settings.logs:
        open_log(settings.logs)
    collect_static(settings.static)


if __name__ == "__main__":
    sys.exit(main())
