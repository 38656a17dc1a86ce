"""What a failed ``docker build`` or ``docker pull`` means: the Dockerfile, a registry, or the machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pytest_madengine.errors import BuildError, EngineError, MadError, PullError

#: A step of the Dockerfile ended with a status: never the machine's fault as far as we can know.
_STEP: Final = re.compile(
    r"returned a non-zero code|executor failed running|did not complete successfully: exit code"
    r"|while running runtime: exit status",
)
_DAEMON: Final = re.compile(
    r"cannot connect to the docker daemon|failed to dial grpc|error during connect"
    r"|permission denied while trying to connect|is the docker daemon running|unexpected eof$"
    r"|cannot connect to podman|no space left on device|error reading from server: eof"
    r"|transport is closing|buildkit is enabled but the buildx component is missing",
    re.IGNORECASE,
)
_PULL: Final = re.compile(
    r"pull access denied|manifest unknown|manifest for \S+ not found|manifest\S* .*not found"
    r"|failed to resolve source metadata|failed to do request|failed to authorize|failed to fetch"
    r"|failed to copy|toomanyrequests|tls handshake timeout|no such host|i/o timeout|x509: "
    r"|connection refused|connection reset|unauthorized|error pulling image|net/http: |Get \"https?://"
    r"|Head \"https?://|unexpected status code|received unexpected http status|no basic auth credentials"
    r"|requested access to the resource is denied|repository does not exist|initializing source docker://"
    r"|server gave http response to https client|pinging container registry",
    re.IGNORECASE,
)
_SILENT: Final = re.compile(
    r"no such host|i/o timeout|connection (refused|reset)|tls handshake timeout|network is unreachable"
    r"|no route to host|server misbehaving|name resolution|deadline exceeded|client\.timeout exceeded"
    r"|awaiting headers|: EOF$",
    re.IGNORECASE,
)
_ERROR: Final = re.compile(
    r"^(?:error\b|fatal\b|failed\b)|failed to |executor failed|returned a non-zero code|failed: "
    r"|cannot connect|^Get \"|denied|not found|unknown flag|unable to |invalid |is missing or broken",
    re.IGNORECASE,
)
#: Lines of the client that say nothing about the reason.
_NOISE: Final = re.compile(
    r"^View build details|^DEPRECATED:|^\[Warning\]|^time=|^-+$|^See '|^Run '|docs\.docker\.com/go"
)


def failure_line(tail: Sequence[str]) -> str:
    """The last line that tells an error; else the last one that is not noise; empty when there is none."""
    telling = [line.strip() for line in tail if not _NOISE.search(line.strip())]
    for line in reversed(telling):
        if _ERROR.search(line):
            return _plain(line)
    return _plain(telling[-1]) if telling else ""


def _plain(line: str) -> str:
    return re.sub(r"^(?:ERROR|Error|error):?\s+(?=\S)", "", line)


def registry_is_silent(text: str) -> bool:
    """True when a registry did not answer at all; one that says "denied" or "not found" did."""
    return bool(_SILENT.search(text))


def build_failure(
    model: str, relative: str, code: int, tail: tuple[str, ...], frontend: str = ""
) -> MadError:
    """The error for a build that ended with a status other than 0.

    :param frontend: image of the line ``# syntax=``; empty without one.
    """
    line = failure_line(tail)
    where = f"{relative} ({model})"
    if code < 0:
        return EngineError(
            f"docker build of {where} was killed by signal {-code}",
            hint="the client was ended from outside, perhaps for lack of memory",
            log_tail=tail,
        )
    if not _STEP.search(line):
        if _DAEMON.search(line):
            return EngineError(f"docker build of {where}: {line}", hint=_engine_hint(line), log_tail=tail)
        if _PULL.search(line) and _names(line, frontend):
            return PullError(
                f"docker build of {where}: the frontend {frontend} of the line '# syntax=' cannot be pulled: "
                f"{line}",
                hint="without that line the engine's own frontend reads the file, and needs no registry; or "
                "name one in a registry that answers",
                log_tail=tail,
            )
        if _PULL.search(line):
            return PullError(
                f"docker build of {where}: the base image cannot be pulled: {line}",
                hint="check its name, the network and 'docker login'; --mad-no-pull uses a local one",
                log_tail=tail,
            )
    hint = "the build log has the whole output"
    if re.search(r"requires buildkit|unknown flag: mount", line, re.IGNORECASE):
        hint = "install the docker buildx component: this Dockerfile needs BuildKit"
    reason = line or f"exit status {code} without any output"
    return BuildError(f"docker build of {where} failed: {reason}", hint=hint, log_tail=tail)


def _names(line: str, frontend: str) -> bool:
    """True when a line is about the image of a frontend."""
    name = frontend.partition("@")[0]
    head, slash, last = name.rpartition("/")
    first, _, path = f"{head}{slash}{last.partition(':')[0]}".partition("/")
    return bool(path) and (path if "." in first or ":" in first else f"{first}/{path}") in line


def engine_failure(what: str, line: str, tail: tuple[str, ...]) -> EngineError | None:
    """The error when the engine itself is at fault, and not a registry; else ``None``."""
    if not _DAEMON.search(line):
        return None
    return EngineError(f"{what}: {line}", hint=_engine_hint(line), log_tail=tail)


def pull_failure(name: str, code: int, tail: tuple[str, ...]) -> EngineError:
    """The error for a pull that ended with a status other than 0."""
    line = failure_line(tail) or f"exit status {code} without any output"
    if _DAEMON.search(line):
        return EngineError(f"docker pull {name}: {line}", hint=_engine_hint(line), log_tail=tail)
    return PullError(
        f"image {name} is not here and cannot be pulled: {line}",
        hint="check its name, the network and 'docker login'",
        log_tail=tail,
    )


def timed_out(timeout: float, tail: tuple[str, ...], *, pull: bool = False) -> MadError:
    """The error for a phase whose limit expired (contract 10.8)."""
    seconds = int(timeout) if float(timeout).is_integer() else timeout
    kind, option = (PullError, "pull") if pull else (BuildError, "build")
    return kind(
        f"Program timed out. Requested timeout={seconds}",
        hint=f"--mad-timeout-{option} sets the limit of this phase",
        log_tail=tail,
    )


def _engine_hint(line: str) -> str:
    if "no space left" in line.lower():
        return "free disk space of the engine, e.g. with 'docker builder prune'"
    if "buildx" in line.lower():
        return "install the docker buildx component"
    return "check the engine with 'docker info'"
