"""What the container engine's client raises, in the words of users."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pytest_madengine.errors import EngineError, MadError, PlanError

#: What engines say about a path of ours that they cannot see.
_UNSEEN: Final = re.compile(r"bind source path does not exist: (?P<path>/.*?)\s*$")


def engine_failures() -> tuple[type[Exception], ...]:
    """Every exception that docker-py lets through when the engine refuses or cannot be reached."""
    import docker.errors
    from requests.exceptions import RequestException

    return (docker.errors.DockerException, RequestException, OSError)


def explain(error: Exception, doing: str) -> MadError:
    """An exception of the engine's client in the words of the user."""
    import docker.errors

    if isinstance(error, docker.errors.ImageNotFound):
        return EngineError(f"{doing}: {error.explanation}", hint="build or pull the image first")
    if isinstance(error, docker.errors.APIError):
        text = " ".join(str(error.explanation or error).split())
        code = error.status_code or 500
        unseen = _UNSEEN.search(text)
        if unseen and Path(unseen["path"]).exists():
            return EngineError(
                f"{doing}: the container engine does not see this file system: {unseen['path']} exists here, "
                "but not where the engine runs",
                hint="a container with the host's engine socket needs the repository, the results directory "
                "and /tmp under the same paths as on the host (docker run -v $PWD:$PWD -w $PWD ...); with a "
                "remote engine, start the session on its host",
            )
        if "bind source path does not exist" in text or "invalid mount config" in text:
            return PlanError(f"{doing}: {text}", hint="check docker_mounts and the data of the model")
        if 400 <= code < 500 and code not in (401, 403, 404, 409):
            return PlanError(f"{doing}: the engine refuses the options: {text}")
        return EngineError(f"{doing}: {text}")
    text = " ".join(str(error).split())
    if "Permission denied" in text:
        return EngineError(
            f"{doing}: no permission for the container engine", hint="is this user in the group docker?"
        )
    return EngineError(f"{doing}: the container engine does not answer: {text}", hint="is dockerd running?")
