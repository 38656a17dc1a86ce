"""One run of a plan: a workspace and a container, from preparation to result."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.engine.owner import KEPT
from pytest_madengine.errors import EngineError, MadError
from pytest_madengine.executors.artifacts import PATTERNS, Collector
from pytest_madengine.executors.before import Before
from pytest_madengine.executors.control import ControlDirectory
from pytest_madengine.executors.docker.container import EngineContainer, NoBashError
from pytest_madengine.executors.docker.hostconfig import container_config, host_config
from pytest_madengine.executors.docker.observation import Ending, make_result
from pytest_madengine.executors.docker.stream import AttachedStream
from pytest_madengine.executors.docker.supervision import KILL_LIMIT, Supervisor
from pytest_madengine.executors.log import LogPump
from pytest_madengine.executors.workspace import RunWorkspace
from pytest_madengine.plan.runplan import RunPlan
from pytest_madengine.plan.script import CONTROL_DIR, INIT, clone_environment
from pytest_madengine.results.patterns import DEFAULT
from pytest_madengine.results.result import RunResult
from pytest_madengine.results.scanner import LogScanner
from pytest_madengine.secrets import Redactor, reveal
from pytest_madengine.util.ends import held

if TYPE_CHECKING:
    from docker import DockerClient

#: Where bash is looked for: the usual place, then PATH of the image.
_BASH: Final = ("/bin/bash", "bash")
#: Starts of one container that fail because entries of the MAD root vanished.
_VANISHING_TRIES: Final = 20
#: Seconds the engine may take to remove a container that ended.
_REMOVAL_LIMIT: Final = 60.0
#: The same when the connection broke: the container may well be running.
_BROKEN_LIMIT: Final = 5.0


class DockerRun:
    """One run; a context manager that leaves neither container nor workspace behind.

    :param labels: of the container.
    :param common: merged ``scripts/common`` of the MAD root.
    """

    def __init__(
        self,
        plan: RunPlan,
        client: DockerClient,
        redactor: Redactor,
        *,
        labels: Mapping[str, str],
        workspaces: Path,
        common: Path,
    ) -> None:
        self._plan, self._client, self._redactor, self._labels = plan, client, redactor, dict(labels)
        self._nonce = secrets.token_hex(12)
        self._container = EngineContainer(client, plan.container_name)
        self._workspace = RunWorkspace(workspaces, plan.workspace, common)
        self._control = ControlDirectory(self._workspace.control)
        self._kept = False
        #: The engine did not hear that the container shall end; closing the stream, its lifeline, ends it.
        self._deaf = False
        #: What existed before the script started, and when that was on the clock of the file system.
        self._before: Before | None = None
        self._since: int | None = None
        self._warnings: list[str] = []

    def __enter__(self) -> DockerRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._control.close()
        if self._kept:
            self._workspace.keep()
            return
        with held():
            self._leave_nothing(failed=error is not None)

    def _leave_nothing(self, *, failed: bool) -> None:
        try:
            if self._container.id and not self._deaf:
                self._container.remove()
        except MadError:
            if not failed:
                raise
        finally:
            self._leave_no_workspace(failed=failed)

    def _leave_no_workspace(self, *, failed: bool) -> None:
        try:
            self._remove_workspace()
        except MadError:
            # The next session sweeps it; what failed before is what matters, an interrupt above all.
            if not failed:
                raise

    def execute(
        self,
        artifacts: Path,
        *,
        on_phase: Callable[[str], None] | None,
        on_output: Callable[[bytes], None] | None,
        cancel: threading.Event | None,
    ) -> RunResult:
        """Prepares, starts, follows and collects; the parameters are those of ``DockerExecutor.run``."""
        plan = self._plan
        artifacts.mkdir(parents=True, exist_ok=True)
        config = self._prepare()
        supervisor = Supervisor(
            self._container_signal,
            plan.timeouts,
            on_phase=on_phase,
            cancel=cancel,
            keep=plan.script.keep_alive,
        )
        scanner = LogScanner(
            DEFAULT if plan.log_error_patterns is None else plan.log_error_patterns,
            plan.log_error_benign_patterns,
            plan.log_error_pattern_scan,
        )
        log = artifacts / f"{plan.log_name}.run.live.log"
        started = time.time()

        def on_marker(name: str) -> None:
            if name == "ready":
                self._look_before()
            supervisor.on_marker(name)

        pump = LogPump(log, self._nonce, self._redactor, scanner, on_marker, on_output)
        with pump, closing(self._start(config)) as stream:
            interrupt = self._follow(supervisor, stream, pump)
            if supervisor.kept:
                self._note_kept(pump)
        try:
            if not (supervisor.kept or self._deaf):
                self._await_removal(broken=stream.broken or supervisor.stuck)
            result = self._result(supervisor, pump, scanner, artifacts, started)
            combine_logs(plan.image.build_log, log, artifacts / f"{plan.log_name}.live.log")
        except MadError:
            if interrupt is None:
                raise
        if interrupt is not None:
            raise interrupt
        return result

    # ---- before -------------------------------------------------------------------------------------

    def _prepare(self) -> dict[str, Any]:
        plan, keep = self._plan, self._plan.script.keep_alive
        mounts = self._workspace.prepare(make_model_dir=plan.script.clone is None)
        self._workspace.add_mount_points(plan.mounts)
        self._control.write(plan, self._nonce)
        host = host_config(plan.options, [*mounts, *plan.mounts])
        host["AutoRemove"] = not keep
        if not keep:
            # The stream is all we read; a copy in the engine's own log would cost disk and time.
            host["LogConfig"] = {"Type": "none", "Config": {}}
        values = {name: entry.value for name, entry in plan.env.items()}
        values.update(clone_environment(plan.script.clone))
        config = container_config(
            plan.options,
            image=plan.image.id or plan.image.name,
            env={name: reveal(value) for name, value in values.items()},
            labels={**self._labels, **({KEPT: "true"} if keep else {})},
            host=host,
        )
        config.update(OpenStdin=not keep, StdinOnce=not keep, AttachStdin=not keep)
        return config

    def _start(self, config: dict[str, Any]) -> AttachedStream:
        """Starts the container, without those entries of the MAD root that vanish meanwhile."""
        for _ in range(_VANISHING_TRIES):
            try:
                return self._start_somehow(config)
            except MadError:
                gone = self._workspace.vanished()
                if not gone:
                    raise
                if self._container.id:
                    self._container.remove()
                host = config["HostConfig"]
                host["Mounts"] = [mount for mount in host["Mounts"] if mount["Target"] not in gone]
        return self._start_somehow(config)

    def _start_somehow(self, config: dict[str, Any]) -> AttachedStream:
        for bash in _BASH[:-1]:
            try:
                return self._start_with(config, bash)
            except NoBashError:
                self._container.remove()
        return self._start_with(config, _BASH[-1])

    def _start_with(self, config: dict[str, Any], bash: str) -> AttachedStream:
        self._container = EngineContainer(self._client, self._plan.container_name)
        # -p: neither BASH_ENV nor functions of the environment reach our own scripts.
        config["Entrypoint"] = [bash, "-p", f"{CONTROL_DIR}/{INIT}"]
        self._container.create(config, self._plan.options.platform)
        stream = self._container.attach(lifeline=bool(config["OpenStdin"]))
        try:
            self._container.start(removed_by_engine=bool(config["HostConfig"]["AutoRemove"]))
        except BaseException:
            stream.close()
            raise
        return stream

    def _container_signal(self, name: str) -> None:
        self._container.signal(name)

    def _look_before(self) -> None:
        """Remembers what is there before the script starts, then lets it start."""
        if self._plan.multiple_results and self._before is None:
            space = self._workspace
            suffix = Path(self._plan.multiple_results).suffix
            mounted = [Path(mount.source) for mount in self._plan.mounts if mount.source.startswith("/")]
            sums = self._control.sums()
            self._before = Before(space.own(), space.visible, suffix, mounted, sums)
            if self._before.incomplete:
                self._warnings.append("the model directory is too large to remember all of it before the run")
            self._since = self._control.let_go()

    def _follow(
        self, supervisor: Supervisor, stream: AttachedStream, pump: LogPump
    ) -> KeyboardInterrupt | None:
        """Follows the container to its end; an interrupt of the user makes that end come soon.

        A second interrupt is not held back: the container is then removed at once.
        """
        try:
            supervisor.follow(stream, pump.feed)
        except KeyboardInterrupt as interrupt:
            try:
                supervisor.interrupt()
                supervisor.follow(stream, pump.feed)
            except MadError:
                self._deaf = True
            return interrupt
        return None

    # ---- after --------------------------------------------------------------------------------------

    def _note_kept(self, pump: LogPump) -> None:
        name = self._container.name
        self._kept = True
        pump.note(f"Container {name} keeps running. Use:")
        pump.note(f"  docker exec -it {name} bash")
        pump.note(f"  docker stop {name}")
        pump.note(f"  docker rm -f {name}")
        self._warnings.append(f"container {name} and its workspace were kept (--mad-keep-alive)")

    def _await_removal(self, *, broken: bool) -> None:
        """The container is gone before anybody hears of the result."""
        if not self._container.wait_gone(_BROKEN_LIMIT if broken else _REMOVAL_LIMIT):
            self._container.remove()
            self._container.wait_gone(KILL_LIMIT)

    def _result(
        self, supervisor: Supervisor, pump: LogPump, scanner: LogScanner, artifacts: Path, started: float
    ) -> RunResult:
        plan, container, space = self._plan, self._container, self._workspace
        events = self._control.events()
        unexplained = not (events.finished or supervisor.stopping or events.oom_kills or supervisor.kept)
        ending = Ending(
            container.name,
            container.exit_status,
            lost=container.lost,
            out_of_memory=unexplained and container.killed_for_memory(started, time.time()),
        )
        collector = Collector(
            space.root,
            space.model_dir,
            space.foreign,
            artifacts,
            self._redactor,
            copy=supervisor.kept,
            keep_model_dir=plan.workspace.keep_model_dir,
        )
        results, patterns = None, (*PATTERNS, *plan.workspace.collect)
        if plan.multiple_results:
            results = collector.read_results(plan.multiple_results, self._before, self._since)
            patterns = (*patterns, plan.multiple_results)
        collected = collector.collect(patterns)
        warnings = [*self._warnings, *self._control.warnings, *space.warnings, *collector.warnings]
        return make_result(
            events,
            supervisor,
            ending,
            scanner.findings(),
            log_file=f"{plan.log_name}.run.live.log",
            log_tail=pump.tail,
            multiple_results=results,
            artifacts=collected,
            warnings=[self._redactor.text(warning) for warning in warnings],
        )

    def _remove_workspace(self) -> None:
        try:
            self._workspace.remove()
            return
        except OSError:
            self._empty_with_container()
        try:
            self._workspace.remove()
        except OSError as error:
            raise EngineError(
                f"cannot remove workspace {self._workspace.root.parent}: {error.strerror}",
                hint="a file in it belongs to another user; remove it as root",
            ) from error

    def _empty_with_container(self) -> None:
        """Files of other users are removed by a container of the same image, which may do that."""
        container = EngineContainer(self._client, f"{self._plan.container_name}_cleanup")
        config = {
            "Image": self._plan.image.id or self._plan.image.name,
            "Entrypoint": ["/bin/bash", "-p", "-c"],
            "Cmd": ["shopt -s dotglob nullglob; rm -rf /myworkspace/*"],
            "User": "0",
            "NetworkDisabled": True,
            "Labels": dict(self._labels),
            "HostConfig": {
                "AutoRemove": True,
                "Mounts": [{"Type": "bind", "Source": str(self._workspace.root), "Target": "/myworkspace"}],
            },
        }
        try:
            container.create(config, "")
            container.start(removed_by_engine=True)
            container.wait_gone(_REMOVAL_LIMIT)
        except MadError as error:
            self._warnings.append(error.message)


def combine_logs(build_log: str, run_log: Path, combined: Path) -> None:
    """The combined log: the build log, then the run log; without the former just a link to the latter."""
    combined.unlink(missing_ok=True)
    first = run_log.parent / build_log if build_log else None
    if first is None or not first.is_file():
        try:
            combined.hardlink_to(run_log)
        except OSError:  # a file system without hard links
            shutil.copyfile(run_log, combined)
        return
    with combined.open("wb") as target:
        for part in (first, run_log):
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 1024 * 1024)
