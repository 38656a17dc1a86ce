"""One container of ours on the engine, from creation to removal, and the words for what can go wrong."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.engine.failures import engine_failures, explain
from pytest_madengine.errors import RunError
from pytest_madengine.executors.docker.stream import AttachedStream

if TYPE_CHECKING:
    from docker import DockerClient

#: What engines say when the entry point is not in the image.
_NO_PROGRAM: Final = ("executable file not found", "no such file or directory", "not found in $PATH")


class EngineContainer:
    """One container of ours.  Every method raises :class:`MadError` with an explanation."""

    def __init__(self, client: DockerClient, name: str) -> None:
        self._api: Any = client.api
        self.name = name
        self.id = ""
        #: Exit status as the engine reports it.
        self.exit_status: int | None = None
        self._gone = threading.Event()
        self._failure: Exception | None = None

    def create(self, config: dict[str, Any], platform: str) -> None:
        """Creates the container."""
        # Known by its name from here on: an interrupt may come when the engine has made it, unknown to us.
        self.id = self.name
        try:
            created = self._api.create_container_from_config(config, self.name, platform or None)
        except engine_failures() as error:
            if _refused(error):
                self.id = ""  # the name may be that of somebody else's container
            raise explain(error, f"cannot create container {self.name} of {config['Image']}") from error
        self.id = str(created["Id"])

    def attach(self, *, lifeline: bool) -> AttachedStream:
        """Connects to the container; do it before the start, so that nothing is missed."""
        params = {"stdin": int(lifeline), "stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
        try:
            return AttachedStream(self._api.attach_socket(self.id, params=params))
        except engine_failures() as error:
            raise explain(error, f"cannot attach to container {self.name}") from error

    def start(self, *, removed_by_engine: bool) -> None:
        """Starts the container and a thread that waits for its end.

        :raises RunError: the image has no bash.
        """
        waiter = threading.Thread(
            target=self._wait,
            args=("removed" if removed_by_engine else "next-exit",),
            name=f"wait {self.name}",
            daemon=True,
        )
        waiter.start()
        try:
            self._api.start(self.id)
        except engine_failures() as error:
            if _lacks_program(error):
                raise NoBashError(
                    f"the image of {self.name} has no bash, which every MAD image needs"
                ) from error
            raise explain(error, f"cannot start container {self.name}") from error

    def _wait(self, condition: str) -> None:
        # The status of a container that the engine removes is told only to those who asked before its end.
        try:
            self.exit_status = self._api.wait(self.id, timeout=None, condition=condition)["StatusCode"]
        except engine_failures() as error:
            self._failure = error
        finally:
            self._gone.set()

    def wait_gone(self, seconds: float) -> bool:
        """Waits until the engine says that the container ended (and was removed by it); False: it did not."""
        return self._gone.wait(seconds)

    @property
    def lost(self) -> str:
        """Why nothing is known about the container's end; empty when all is well."""
        import docker.errors

        if self._failure is None or isinstance(self._failure, docker.errors.NotFound):
            return ""
        return explain(self._failure, f"lost container {self.name}").message

    def signal(self, name: str) -> None:
        """Sends a signal to the first process; a container that is not running is left as it is."""
        import docker.errors

        try:
            self._api.kill(self.id, signal=name)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):
                raise explain(error, f"cannot stop container {self.name}") from error
        except engine_failures() as error:
            raise explain(error, f"cannot stop container {self.name}") from error

    def remove(self) -> None:
        """Kills and removes the container; fine when there is none."""
        import docker.errors

        try:
            self._api.remove_container(self.id, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if error.status_code == 409:  # the engine is removing it
                return
            raise explain(error, f"cannot remove container {self.name}") from error
        except engine_failures() as error:
            raise explain(error, f"cannot remove container {self.name}") from error

    def killed_for_memory(self, since: float, until: float) -> bool:
        """True when the engine saw the kernel kill for memory in this container between two epoch seconds."""
        filters = {"container": [self.id], "event": ["oom"], "type": ["container"]}
        try:
            events = self._api.events(
                since=int(since) - 1, until=int(until) + 1, filters=filters, decode=True
            )
            return any(True for _ in events)
        except engine_failures():
            return False  # only a refinement of a failure that is reported anyway


class NoBashError(RunError):
    """The image has no bash where the entry point looks for it."""


def _refused(error: Exception) -> bool:
    import docker.errors

    return isinstance(error, docker.errors.APIError)


def _lacks_program(error: Exception) -> bool:
    import docker.errors

    if not isinstance(error, docker.errors.APIError):
        return False
    text = str(error.explanation or "")
    return "exec" in text and "bash" in text and any(words in text for words in _NO_PROGRAM)
