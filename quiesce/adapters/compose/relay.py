"""Helper containers in the network of another container, which run relays.

Nothing is run in the container itself. A server that is its first process becomes the parent of
orphaned children there, and PostgreSQL treats the end of such a child as a crashed session: it
terminates all sessions and recovers. In a helper, the first process is `cat`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from quiesce.adapters.compose.engine import EngineConnection
from quiesce.adapters.compose.helper_container import HelperContainer
from quiesce.adapters.compose.inspected import Inspected
from quiesce.errors import QuiesceError


@dataclass(slots=True)
class RelayHelpers:
    """Creates helpers and removes them. `images` are tried in order; the container's own image
    comes first, or the one that stack.yaml names. None is ever pulled."""

    connection: EngineConnection
    images: Callable[[], Sequence[str]]
    helper_image: str | None
    project: str
    run: str
    _made: list[HelperContainer] = field(default_factory=list)

    def begin(
        self, service: str, container: Inspected, programs: Collection[str]
    ) -> tuple[str, str]:
        """Return a helper in the container's network, and which of the programs it has.

        Raise QuiesceError if no image has one.
        """
        import docker

        own = [self.helper_image] if self.helper_image else []
        for image in dict.fromkeys([*own, str(container["Image"]), *self.images()]):
            try:
                helper = HelperContainer(
                    self.connection.api,
                    image,
                    self.run,
                    self.project,
                    volume="",
                    mounts=[],
                    network=f"container:{container['Id']}",
                )
            except docker.errors.APIError:
                continue  # no such image, or no `cat` in it
            self._made.append(helper)
            for program in programs:
                if helper.execute(["sh", "-c", f"command -v {program}"], {}) == 0:
                    return helper.id, program
            helper.close()
            self._made.remove(helper)
        raise QuiesceError(
            f"service {service} cannot be reached: no image of the stack has one of "
            f"{', '.join(programs)}",
            "publish the port in the Compose file, set helper_image in stack.yaml to an image on "
            "this engine that has one, or run this on the engine's machine",
        )

    def close(self) -> None:
        """Remove every helper. One that cannot be removed now ends with this process."""
        import docker
        import requests

        for helper in self._made:
            with contextlib.suppress(
                docker.errors.DockerException, requests.RequestException, OSError
            ):
                helper.close()
        self._made.clear()
