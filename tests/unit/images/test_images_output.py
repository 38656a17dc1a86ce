"""Running the client: limits, interruption, log, and what a failure means."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.engine.process import Ended, end_running, run_streaming
from pytest_madengine.errors import BuildError, EngineError, PullError
from pytest_madengine.images import buildlog
from pytest_madengine.images.buildlog import BuildLog, open_build_log
from pytest_madengine.images.verdict import (
    build_failure,
    failure_line,
    pull_failure,
    registry_is_silent,
    timed_out,
)
from pytest_madengine.secrets import Redactor

PYTHON = {"PATH": os.environ["PATH"]}


def run(code: str, **options: object) -> tuple[int, bool, bytes]:
    chunks: list[bytes] = []
    ended = run_streaming(
        [sys.executable, "-S", "-c", code],
        environ=PYTHON,
        cwd=Path("/"),
        output=chunks.append,
        **options,  # type: ignore[arg-type]
    )
    return ended.code, ended.timed_out, b"".join(chunks)


def test_output_of_both_streams_in_order() -> None:
    code = "import os; os.write(1, b'a\\n'); os.write(2, b'b\\n'); os.write(1, b'c'); os._exit(3)"
    assert run(code, timeout=60) == (3, False, b"a\nb\nc")


def test_no_standard_input_and_only_the_given_environment() -> None:
    assert run("import os, sys; print(sys.stdin.read() + str(sorted(os.environ)))")[2].startswith(b"[")


def test_a_limit_ends_the_whole_group() -> None:
    """Defect 48: given a command longer than its limit / when run / then all its children are gone."""
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "os.write(1, b'%d\\n' % os.getpid())\n"
        "time.sleep(1000)\n"
    )
    status, timed, output = run(code, timeout=2, grace=0.2)
    assert (status, timed) == (-signal.SIGKILL, True)
    pids = [int(line) for line in output.split()]
    assert pids
    deadline = time.monotonic() + 30
    while any(map(_alive, pids)):  # the kernel ends a killed process a moment later
        assert time.monotonic() < deadline


def _ends(pid: int) -> bool:
    """The kernel ends a killed process a moment later."""
    deadline = time.monotonic() + 30
    while _alive(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_last_words_at_the_limit_are_kept() -> None:
    code = (
        "import signal, os, time\n"
        "signal.signal(signal.SIGTERM, lambda *a: (os.write(1, b'bye'), os._exit(7)))\n"
        "os.write(1, b'hello ')\n"
        "time.sleep(1000)\n"
    )
    assert run(code, timeout=2, grace=30) == (7, True, b"hello bye")


def test_a_command_that_closes_its_output_is_still_limited() -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(1000)"
    assert run(code, timeout=1, grace=1)[1] is True


def test_an_interruption_kills_the_command_and_goes_on() -> None:
    pids: list[int] = []

    def interrupted(data: bytes) -> None:
        pids.append(int(data))
        raise KeyboardInterrupt

    code = "import os, time; os.write(1, b'%d' % os.getpid()); time.sleep(1000)"
    with pytest.raises(KeyboardInterrupt):
        run_streaming(
            [sys.executable, "-S", "-c", code], environ=PYTHON, cwd=Path("/"), output=interrupted, grace=5
        )
    assert _ends(pids[0])


def test_an_interruption_of_the_grace_period_kills_at_once() -> None:
    pids: list[int] = []

    def interrupted(data: bytes) -> None:
        pids.append(int(data.split()[0]))
        raise KeyboardInterrupt

    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *a: os.write(1, b'%d ' % os.getpid()))\n"
        "while True: time.sleep(1)\n"
    )
    with pytest.raises(KeyboardInterrupt):
        run_streaming(
            [sys.executable, "-S", "-c", code],
            environ=PYTHON,
            cwd=Path("/"),
            output=interrupted,
            timeout=2,
            grace=600,
        )
    assert _ends(pids[0])


def test_limits_work_in_any_thread() -> None:
    """Defect 49: timers work in any thread."""
    results: list[tuple[int, bool, bytes]] = []
    thread = threading.Thread(
        target=lambda: results.append(run("import time; time.sleep(99)", timeout=0.2, grace=5))
    )
    thread.start()
    thread.join()
    assert results[0][1] is True


def test_a_watch_ends_a_silent_command() -> None:
    """faults 2.5: given a command that waits for an engine that hangs / when whoever watches it finds that /
    then the command is ended and the reason is raised; while there is output nobody needs to look."""
    looks: list[int] = []
    pids: list[bytes] = []

    def watch() -> None:
        looks.append(len(pids))
        if len(looks) == 3:
            raise ConnectionError("it hangs")

    code = "import os, time; os.write(1, b'%d' % os.getpid()); time.sleep(1000)"
    with pytest.raises(ConnectionError, match="it hangs"):
        run_streaming(
            [sys.executable, "-S", "-c", code],
            environ=PYTHON,
            cwd=Path("/"),
            output=pids.append,
            watch=watch,
            period=0.2,
        )
    assert len(looks) == 3
    assert not pids or _ends(int(pids[0]))


def test_running_commands_are_asked_and_then_killed() -> None:
    """faults 2.5: given a docker client that waits for a hung engine, deaf to SIGTERM / when the session
    ends / then it is killed soon; nobody waits for it."""
    started = threading.Event()
    results: list[Ended] = []

    def heard(data: bytes) -> None:
        started.set()

    code = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.write(1, b'x'); time.sleep(1000)"
    thread = threading.Thread(
        target=lambda: results.append(
            run_streaming([sys.executable, "-S", "-c", code], environ=PYTHON, cwd=Path("/"), output=heard)
        )
    )
    thread.start()
    started.wait(60)
    end_running(grace=0.2)
    thread.join(60)
    assert results[0].code == -signal.SIGKILL


def test_a_watch_does_not_extend_a_limit() -> None:
    looks: list[None] = []
    code = "import time; time.sleep(1000)"
    ended = run_streaming(
        [sys.executable, "-S", "-c", code],
        environ=PYTHON,
        cwd=Path("/"),
        output=lambda data: None,
        timeout=0.5,
        grace=5,
        watch=lambda: looks.append(None),
        period=0.1,
    )
    assert ended.timed_out
    assert looks


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        run_streaming(["/nowhere/docker"], environ={}, cwd=Path("/"), output=lambda data: None)


# ---- log ----------------------------------------------------------------------------------------------


def logged(pieces: list[bytes], redactor: Redactor | None = None) -> tuple[str, BuildLog]:
    stream = io.StringIO()
    log = BuildLog(stream, redactor or Redactor())
    for piece in pieces:
        log.write(piece)
    log.finish()
    return stream.getvalue(), log


def test_lines_and_tail() -> None:
    text, log = logged([b"a\n\nb", b"c\n\xff\n", b"\x1b[91merr\x1b[0m"])
    assert text == "a\n\nbc\n\ufffd\n\x1b[91merr\x1b[0m\n"
    assert log.tail == ("a", "bc", "\ufffd", "err")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildlog, "MAX_PENDING", 100)
    text, log = logged([b"x" * 50] * 200 + [b"\n"])
    assert text == "x" * 10_000 + "\n"
    assert len(log._pending) == 0
    assert len(log.tail[0]) == buildlog.TAIL_WIDTH
    _, many = logged([b"line\n" * 1000])
    assert len(many.tail) == buildlog.TAIL_LINES


@given(st.integers(1, 40), st.integers(0, 200), st.integers(1, 60))
def test_a_secret_is_masked_however_it_is_cut(size: int, lead: int, limit: int) -> None:
    """Defect 9: given a secret in the output in pieces / when logged / then it is masked."""
    secret = "s3cr3t-planted-value"
    data = b"x" * lead + secret.encode() + b"y" * 30 + secret.encode()
    stream = io.StringIO()
    log = BuildLog(stream, Redactor([secret]))
    original = buildlog.MAX_PENDING
    buildlog.MAX_PENDING = limit  # type: ignore[misc]
    try:
        for start in range(0, len(data), size):
            log.write(data[start : start + size])
        log.finish()
    finally:
        buildlog.MAX_PENDING = original  # type: ignore[misc]
    assert stream.getvalue() == "x" * lead + "***" + "y" * 30 + "***\n"


def test_resolved_base_images() -> None:
    digest = "sha256:" + "a" * 64
    _, log = logged([f"#4 [1/2] FROM docker.io/library/debian:12@{digest}\n".encode()])
    assert log.resolved == {"docker.io/library/debian:12": digest}


def test_a_new_log_leaves_the_shared_old_one_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "a/x.log", tmp_path / "y.log"
    with open_build_log(path, Redactor()) as log:
        log.write(b"first")
    other.hardlink_to(path)
    with open_build_log(path, Redactor(["topsecret"])) as log:
        log.note("$ topsecret\n")
        log.write(b"second")
    assert other.read_text() == "first\n"
    assert path.read_text() == "$ ***\nsecond\n"


# ---- what a failure means -----------------------------------------------------------------------------

NO_HOST = "dial tcp: lookup nonexistent.invalid on 10.0.0.1:53: no such host"
FAILURES = [
    pytest.param(
        ["boom", "The command '/bin/sh -c exit 3' returned a non-zero code: 3"],
        BuildError,
        "The command '/bin/sh -c exit 3' returned a non-zero code: 3",
        id="classic-step",
    ),
    pytest.param(
        ["#5 ERROR: x", "------", "executor failed running [/bin/sh -c exit 3]: exit code: 3"],
        BuildError,
        "executor failed running [/bin/sh -c exit 3]: exit code: 3",
        id="integrated-buildkit-step",
    ),
    pytest.param(
        [
            'ERROR: failed to solve: process "/bin/sh -c x" did not complete successfully: exit code: 3',
            "View build details: docker-desktop://dashboard/x",
        ],
        BuildError,
        'failed to solve: process "/bin/sh -c x" did not complete successfully: exit code: 3',
        id="buildx-step",
    ),
    pytest.param(
        [
            'E: connection refused: no such host "https://x"',
            "executor failed running [apt-get]: exit code: 100",
        ],
        BuildError,
        "executor failed running [apt-get]: exit code: 100",
        id="network-inside-a-step",
    ),
    pytest.param(
        ["Error response from daemon: dockerfile parse error line 1: unknown instruction: FRM"],
        BuildError,
        "response from daemon: dockerfile parse error line 1: unknown instruction: FRM",
        id="parse-error",
    ),
    pytest.param(
        ['failed to compute cache key: "/nofile" not found: not found'],
        BuildError,
        'failed to compute cache key: "/nofile" not found: not found',
        id="copy",
    ),
    pytest.param(
        ["Step 1/2 : FROM x", f'Get "https://nonexistent.invalid/v2/": {NO_HOST}'],
        PullError,
        "no such host",
        id="classic-pull",
    ),
    pytest.param(
        [f'failed to solve with frontend dockerfile.v0: failed to do request: Head "https://x": {NO_HOST}'],
        PullError,
        "no such host",
        id="buildkit-pull",
    ),
    pytest.param(
        ["pull access denied for x, repository does not exist or may require 'docker login': denied: x"],
        PullError,
        "pull access denied",
        id="denied",
    ),
    pytest.param(["manifest for debian:99 not found: manifest unknown"], PullError, "manifest", id="absent"),
    pytest.param(
        ["DEPRECATED: x", "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"],
        EngineError,
        "Cannot connect",
        id="daemon",
    ),
    pytest.param(
        ["failed to dial gRPC: cannot connect to the Docker daemon."],
        EngineError,
        "failed to dial",
        id="grpc",
    ),
    pytest.param(
        ["write /var/lib/docker/tmp/x: no space left on device"], EngineError, "no space left", id="disk"
    ),
    pytest.param(
        ["ERROR: BuildKit is enabled but the buildx component is missing or broken.", "Install buildx"],
        EngineError,
        "buildx component is missing",
        id="buildx",
    ),
    pytest.param([], BuildError, "exit status 1 without any output", id="silent"),
    pytest.param(["DEPRECATED: x", "something odd"], BuildError, "something odd", id="unknown-text"),
]


@pytest.mark.parametrize(("tail", "kind", "text"), FAILURES)
def test_failures(tail: list[str], kind: type[Exception], text: str) -> None:
    error = build_failure("m", "docker/m.Dockerfile", 1, tuple(tail))
    assert type(error) is kind
    assert text in error.message
    assert error.message.startswith("docker build of docker/m.Dockerfile (m)")
    assert error.log_tail == tuple(tail)
    assert error.infrastructure == (kind is not BuildError)


def test_hints() -> None:
    need = build_failure("m", "d", 1, ("the --mount option requires BuildKit. Refer to https://x",))
    assert "buildx" in need.hint
    assert "disk space" in build_failure("m", "d", 1, ("x: no space left on device",)).hint
    assert (
        "buildx"
        in build_failure("m", "d", 1, ("BuildKit is enabled but the buildx component is missing",)).hint
    )


def test_a_killed_client() -> None:
    error = build_failure("m", "d", -9, ())
    assert type(error) is EngineError
    assert "killed by signal 9" in error.message


def test_pull_failures() -> None:
    assert type(pull_failure("x", 1, ("Error response from daemon: manifest unknown",))) is PullError
    assert type(pull_failure("x", 1, ("Cannot connect to the Docker daemon",))) is EngineError
    assert "exit status 2" in pull_failure("x", 2, ()).message


def test_expired_limits() -> None:
    """Contract 10.8: the text of an expired limit; the phase is that of the error."""
    build = timed_out(5.0, ())
    assert (build.message, build.phase) == ("Program timed out. Requested timeout=5", "build")
    pull = timed_out(0.5, (), pull=True)
    assert (pull.message, pull.phase) == ("Program timed out. Requested timeout=0.5", "pull")


@given(st.lists(st.text(max_size=60), max_size=6))
def test_any_output_gives_one_line(tail: list[str]) -> None:
    assert "\n" not in failure_line([line.replace("\n", " ") for line in tail])


@pytest.mark.parametrize(
    ("frontend", "line"),
    [
        (
            "docker/dockerfile:1",
            "failed to solve with frontend dockerfile.v0: failed to solve with frontend gateway.v0: failed "
            f'to do request: Head "https://registry-1.docker.io/v2/docker/dockerfile/manifests/1": {NO_HOST}',
        ),
        (
            "docker.io/docker/dockerfile:1.7@sha256:00",
            "ERROR: failed to solve: docker.io/docker/dockerfile:1.7: failed to resolve source metadata for "
            f"docker.io/docker/dockerfile:1.7: {NO_HOST}",
        ),
        (
            "mirror.local:5000/x/dockerfile:1",
            "failed to solve with frontend dockerfile.v0: failed to solve with frontend gateway.v0: failed "
            f'to do request: Head "https://mirror.local:5000/v2/x/dockerfile/manifests/1": {NO_HOST}',
        ),
    ],
)
def test_a_frontend_that_cannot_be_pulled(frontend: str, line: str) -> None:
    """Faults 5.4: given '# syntax=' without network / when built / then the message names the frontend."""
    error = build_failure("m", "d", 1, (line,), frontend)
    assert type(error) is PullError
    assert f"the frontend {frontend} of the line '# syntax='" in error.message
    assert "base image" not in error.message
    other = 'failed to do request: Head "https://registry-1.docker.io/v2/library/debian/manifests/1": EOF'
    assert "base image" in build_failure("m", "d", 1, (other,), frontend).message


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        (f'Get "https://registry-1.docker.io/v2/": {NO_HOST}', True),
        ("dial tcp 10.0.0.1:443: connect: connection refused", True),
        ("dial tcp 10.0.0.1:443: i/o timeout", True),
        ("net/http: TLS handshake timeout", True),
        ("dial tcp: lookup x: Temporary failure in name resolution", True),
        ("Client.Timeout exceeded while awaiting headers", True),
        ("pull access denied for x, repository does not exist", False),
        ("unauthorized: authentication required", False),
        ("manifest unknown", False),
        ("toomanyrequests: You have reached your pull rate limit", False),
    ],
)
def test_registries_that_do_not_answer(text: str, silent: bool) -> None:
    assert registry_is_silent(text) is silent
