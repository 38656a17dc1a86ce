"""The executor over an engine of paper: errors, fallbacks, cleaning up.  Real containers: tests/e2e."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from pytest_madengine.engine.failures import explain
from pytest_madengine.engine.leftovers import find_leftovers, remove_leftovers
from pytest_madengine.engine.owner import Owner, current_owner
from pytest_madengine.errors import CredentialError, EngineError, MadError, PlanError, RunError
from pytest_madengine.executors import workspace
from pytest_madengine.executors.docker.container import EngineContainer
from pytest_madengine.executors.docker.executor import DockerExecutor
from pytest_madengine.plan.runplan import (
    Clone,
    DockerOptions,
    EnvValue,
    Image,
    Lease,
    RunPlan,
    RunScript,
    Workspace,
)
from pytest_madengine.results.outcome import judge
from pytest_madengine.results.record import Outcome
from pytest_madengine.secrets import Redactor, Secret
from pytest_madengine.settings import PhaseTimeouts
from requests import Response
from requests.exceptions import ConnectionError as EngineGone

EVENTS = "1 1 phase prepare\n2 2 phase run\n3 3 exit 0\n3 3 phase collect\n4 4 finished\n4 4 end 0\n"


def api_error(status: int, text: str, kind: type[APIError] = APIError) -> APIError:
    response = Response()
    response.status_code = status
    return kind("error", response=response, explanation=text)


class PaperEngine:
    """Answers like the low-level client; ``work`` plays the container after its start."""

    def __init__(self, work: Callable[[PaperEngine], None] | None = None) -> None:
        self.work = work or (lambda engine: engine.finish())
        self.configs: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.errors: dict[str, list[Exception | None]] = {}
        self.over = threading.Event()
        self.status = 0
        self.past: list[dict[str, Any]] = []
        self.threads: list[threading.Thread] = []
        self.sockets: list[socket.socket] = []
        self.api = self

    def _call(self, name: str) -> None:
        self.calls.append(name)
        queue = self.errors.get(name, [])
        error = queue.pop(0) if queue else None
        if error is not None:
            raise error

    @property
    def root(self) -> Path:
        mounts = self.configs[-1]["HostConfig"]["Mounts"]
        return next(Path(mount["Source"]) for mount in mounts if mount["Target"] == "/myworkspace")

    def marker(self, name: str) -> None:
        nonce = (self.root / ".madengine/nonce").read_text().strip()
        self.say(f"\x01mad:{nonce}:{name}\n")

    def say(self, text: str) -> None:
        data = text.encode()
        self.theirs.sendall(b"\1\0\0\0" + len(data).to_bytes(4, "big") + data)

    def finish(self, events: str = EVENTS, status: int = 0) -> None:
        (self.root / ".madengine/events").write_text(events)
        self.end(status)

    def end(self, status: int) -> None:
        self.status = status
        self.theirs.close()
        self.over.set()

    def create_container_from_config(self, config: dict[str, Any], name: str, platform: str | None) -> Any:
        self._call("create")
        self.configs.append({**config, "name": name, "platform": platform})
        return {"Id": f"id-{len(self.configs)}"}

    def attach_socket(self, container: str, params: dict[str, int]) -> socket.socket:
        self._call("attach")
        ours, self.theirs = socket.socketpair()
        self.sockets.append(self.theirs)
        return ours

    def start(self, container: str) -> None:
        try:
            self._call("start")
        except Exception:
            self.over.set()
            raise
        self.over.clear()
        if "Entrypoint" in self.configs[-1] and "init.sh" in self.configs[-1]["Entrypoint"][-1]:
            thread = threading.Thread(target=self.work, args=(self,))
            self.threads.append(thread)
            thread.start()
        else:
            self.over.set()

    def wait(self, container: str, timeout: None, condition: str) -> dict[str, int]:
        self._call("wait")
        self.over.wait(20)
        return {"StatusCode": self.status}

    def kill(self, container: str, signal: str) -> None:
        self._call(f"kill {signal}")

    def remove_container(self, container: str, force: bool, v: bool) -> None:
        self._call("remove")
        self.over.set()

    def events(self, **_: object) -> list[dict[str, Any]]:
        self._call("events")
        return self.past

    def containers(self, **_: object) -> list[dict[str, Any]]:
        self._call("list")
        return self.past


class Office:
    """A root, a plan and an executor over a paper engine."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "mad"
        (self.root / "scripts/m").mkdir(parents=True)
        self.spaces = directory / "spaces"
        self.artifacts = directory / "artifacts"
        self.redactor = Redactor()
        self.builtin = directory / "builtin"
        self.builtin.mkdir()

    def plan(self, script: dict[str, Any] | None = None, **changes: Any) -> RunPlan:
        values: dict[str, Any] = {
            "run_id": "r", "item_id": "i", "model": "m", "parameters": (), "image": Image("img"),
            "container_name": "c", "log_name": "m_x",
            "script": RunScript("/myworkspace/run_directory", "scripts/m", "bash run.sh", **(script or {})),
            "workspace": Workspace(str(self.root)), "env": {"A": EnvValue("b", "")}, "mounts": (),
            "options": DockerOptions(), "timeouts": PhaseTimeouts(), "labels": {"l": "1"}, "lease": Lease(),
        }  # fmt: skip
        return RunPlan(**{**values, **changes})

    def run(self, engine: PaperEngine, plan: RunPlan | None = None, **options: Any) -> Any:
        with DockerExecutor(lambda: engine, self.redactor, self.spaces, self.builtin) as executor:
            try:
                return executor.run(plan or self.plan(), self.artifacts, **options)
            finally:
                for thread in engine.threads:
                    thread.join(20)
                for end in engine.sockets:
                    end.close()


@pytest.fixture
def office(tmp_path) -> Office:
    return Office(tmp_path)


def test_what_the_engine_is_asked_for(office):
    engine = PaperEngine()
    plan = office.plan(env={"A": EnvValue("b", ""), "T": EnvValue(Secret("tok-12345"), "")})
    result = office.run(engine, plan)
    assert (result.exit_code, result.ended_in) == (0, "done")
    config = engine.configs[0]
    assert config["Image"] == "img"
    assert config["Entrypoint"] == ["/bin/bash", "-p", "/myworkspace/.madengine/init.sh"]
    assert config["Env"] == ["A=b", "T=tok-12345"]
    assert (config["OpenStdin"], config["StdinOnce"], config["AttachStdin"]) == (True, True, True)
    assert config["HostConfig"]["AutoRemove"] is True
    assert config["Labels"] == {"l": "1", **current_owner().labels()}
    assert office.redactor.text("tok-12345") == "***"
    assert not office.spaces.exists()


def test_an_image_is_named_by_its_id(office):
    engine = PaperEngine()
    office.run(engine, office.plan(image=Image("img", id="sha256:1")))
    assert engine.configs[0]["Image"] == "sha256:1"


NO_BASH = 'OCI runtime create failed: exec: "/bin/bash": stat /bin/bash: no such file or directory'


def test_bash_is_looked_for_on_the_path(office):
    engine = PaperEngine()
    engine.errors["start"] = [api_error(400, NO_BASH)]
    assert office.run(engine).exit_code == 0
    assert [config["Entrypoint"][0] for config in engine.configs] == ["/bin/bash", "bash"]


def test_no_bash_at_all(office):
    engine = PaperEngine()
    engine.errors["start"] = [
        api_error(400, NO_BASH),
        api_error(400, 'exec: "bash": executable file not found in $PATH'),
    ]
    with pytest.raises(RunError, match="has no bash"):
        office.run(engine)
    assert engine.calls.count("remove") == 2


def test_an_engine_that_does_not_see_our_files(tmp_path):
    """Faults 5.3: given the host's engine socket in a container / when run / then one sentence says what is
    wrong, and what to do."""
    error = explain(api_error(400, f"invalid mount config: bind source path does not exist: {tmp_path}"), "c")
    assert isinstance(error, EngineError)
    assert f"the container engine does not see this file system: {tmp_path} exists here" in error.message
    assert "under the same paths as on the host" in error.hint


@pytest.mark.parametrize(
    ("where", "error", "kind", "words"),
    [
        ("create", api_error(404, "No such image: img", ImageNotFound), EngineError, "No such image"),
        (
            "create",
            api_error(400, "bind source path does not exist: /x"),
            PlanError,
            "/x",
        ),
        ("create", api_error(400, "bad option"), PlanError, "refuses the options: bad option"),
        ("create", api_error(409, "name in use"), EngineError, "name in use"),
        ("create", api_error(500, "broken"), EngineError, "broken"),
        ("create", EngineGone("Connection aborted"), EngineError, "does not answer"),
        ("create", PermissionError(13, "Permission denied"), EngineError, "no permission"),
        ("attach", api_error(500, "no stream"), EngineError, "cannot attach to container c: no stream"),
        ("start", api_error(500, "no device"), EngineError, "cannot start container c: no device"),
        ("start", EngineGone("gone"), EngineError, "cannot start container c"),
    ],
)
def test_errors_of_the_engine(office, where, error, kind, words):
    engine = PaperEngine()
    engine.errors[where] = [error]
    with pytest.raises(kind, match=words) as caught:
        office.run(engine)
    assert isinstance(caught.value, MadError)
    # After a refusal there is nothing of ours; after a broken connection nobody knows.
    refused = where == "create" and isinstance(error, APIError)
    assert ("remove" in engine.calls) == (not refused)
    assert not office.spaces.exists()


@pytest.mark.parametrize("where", ["create", "start"])
def test_an_entry_of_the_root_that_vanishes_is_left_out(office, where):
    """faults 1.1: given a file of the repository that is removed after the workspace was made, when the
    engine refuses to mount it, then the run goes on without it; its mount point is gone.
    """
    directory = office.root / "scripts/x.d"  # shown one by one, because the root has no scripts/common
    directory.mkdir()
    (office.root / "x.tmp").touch()
    seen: list[str] = []

    class Refusing(PaperEngine):
        def _call(self, call: str) -> None:
            if call == where and directory.exists():
                (office.root / "x.tmp").unlink()
                directory.rmdir()
                self.calls.append(call)
                raise api_error(400, f"bind source path does not exist: {office.root}/x.tmp")
            super()._call(call)

    def work(engine: PaperEngine) -> None:
        seen.extend(path.name for path in engine.root.iterdir())
        engine.finish()

    engine = Refusing(work)
    assert office.run(engine).exit_code == 0
    targets = [mount["Target"] for mount in engine.configs[-1]["HostConfig"]["Mounts"]]
    assert not {"/myworkspace/x.tmp", "/myworkspace/scripts/x.d"} & set(targets)
    assert "/myworkspace/scripts/m" in targets
    assert "x.tmp" not in seen


def test_an_engine_that_cannot_be_reached(office):
    def absent() -> Any:
        raise DockerException("no socket")

    with (
        DockerExecutor(absent, office.redactor, office.spaces, office.builtin) as executor,
        pytest.raises(EngineError, match="does not answer: no socket"),
    ):
        executor.run(office.plan(), office.artifacts)


def test_a_run_that_vanishes(office):
    engine = PaperEngine(lambda engine: engine.finish("1 1 phase prepare\n2 2 phase run\n", 137))
    result = office.run(engine)
    assert result.engine_error == "container c was killed from outside (exit status 137)"
    assert "events" in engine.calls


def test_memory_seen_by_the_engine_only(office):
    engine = PaperEngine(lambda engine: engine.finish("2 2 phase run\n", 137))
    engine.past = [{"status": "oom"}]
    result = office.run(engine)
    assert (result.out_of_memory, result.engine_error) == (True, "")


def test_the_engine_breaks_off(office):
    engine = PaperEngine(lambda engine: engine.finish("2 2 phase run\n", 0))
    engine.errors["wait"] = [EngineGone("Connection reset")]
    engine.errors["events"] = [EngineGone("Connection refused")]
    result = office.run(engine)
    assert "lost container c" in result.engine_error
    assert "Connection reset" in result.engine_error


def test_a_wait_that_came_too_late_is_no_error(office):
    engine = PaperEngine()
    engine.errors["wait"] = [api_error(404, "gone", NotFound)]
    assert office.run(engine).engine_error == ""


def test_a_workload_that_removes_the_events(office):
    def work(engine: PaperEngine) -> None:
        (engine.root / ".madengine/events").unlink()
        engine.end(0)

    result = office.run(PaperEngine(work))
    assert any("removed its events file" in warning for warning in result.warnings)
    assert result.exit_code is None


@pytest.mark.parametrize("place", ["pipe", "link", "directory", "appended", "replaced", "flood"])
def test_a_workload_that_writes_its_own_events(office, tmp_path, place):
    """faults 1.20: given a failed run that claims success in its events, in whatever way, then the engine's
    exit status has the last word, and nothing waits for a pipe.
    """

    def work(engine: PaperEngine) -> None:
        engine.marker("run")
        events = engine.root / ".madengine/events"
        if place in ("appended", "flood"):
            events.write_text(EVENTS + "garbage\n" * (1_000_000 if place == "flood" else 1))
        else:
            events.unlink()
        if place == "pipe":
            os.mkfifo(events)
        elif place == "link":
            (engine.root / "mine").write_text(EVENTS)
            events.symlink_to("../mine")
        elif place == "directory":
            events.mkdir()
        elif place == "replaced":
            events.write_text(EVENTS)
        engine.say("performance: 5 x\n")
        engine.end(3)

    result = office.run(PaperEngine(work))
    assert judge(result).outcome is Outcome.FAILURE
    assert result.exit_code in (3, None)


def test_the_nonce_is_in_no_file_of_the_scripts(office):
    """faults 1.20: given the control directory when the container starts, then only one file has the nonce,
    and the scripts empty it before anything of the model runs.
    """
    found: list[str] = []

    def work(engine: PaperEngine) -> None:
        control = engine.root / ".madengine"
        nonce = (control / "nonce").read_text().strip()
        found.extend(path.name for path in control.iterdir() if nonce in path.read_text())
        found.append((control / "phases.sh").read_text()[:2])
        engine.finish()

    office.run(PaperEngine(work))
    assert found == ["nonce", "{\n"]


def test_results_that_existed_before_the_script_started(office):
    """faults 1.10: given a results file that was cloned, when the script renames it, then it is no result."""
    seen: list[bool] = []

    def work(engine: PaperEngine) -> None:
        old = engine.root / "run_directory/old.csv"
        old.write_text("model,performance,metric\n1,2,x\n")
        engine.marker("ready")
        go = engine.root / ".madengine/go"
        while not go.exists():
            threading.Event().wait(0.005)
        seen.append((engine.root / ".madengine/ask").exists())
        old.rename(engine.root / "run_directory/r.csv")
        engine.finish()

    result = office.run(PaperEngine(work), office.plan(multiple_results="r.csv"))
    assert seen == [True]
    assert result.multiple_results is None
    assert any("was there before the run" in warning for warning in result.warnings)


def test_a_limit(office):
    stopped = threading.Event()

    def work(engine: PaperEngine) -> None:
        engine.marker("run")
        stopped.wait(20)
        engine.finish("1 1 phase run\n2 2 stopping term\n")

    engine = PaperEngine(work)
    engine.kill = lambda container, signal: stopped.set()  # type: ignore[method-assign, misc]
    result = office.run(engine, office.plan(timeouts=PhaseTimeouts(run=0.05)))
    assert (result.timed_out, result.timeout) == ("run", 0.05)


def test_an_interrupt_of_the_user(office):
    def work(engine: PaperEngine) -> None:
        engine.marker("run")
        engine.say("output\n")
        engine.finish("1 1 phase run\n")

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    engine = PaperEngine(work)
    with pytest.raises(KeyboardInterrupt):
        office.run(engine, on_phase=interrupt)
    assert "kill TERM" in engine.calls
    assert not office.spaces.exists()
    assert (office.artifacts / "m_x.live.log").exists()


def test_two_interrupts_remove_the_container(office):
    blocked = threading.Event()

    def work(engine: PaperEngine) -> None:
        engine.marker("run")
        blocked.wait(20)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    engine = PaperEngine(work)
    engine.kill = interrupt  # type: ignore[method-assign]
    original = engine.remove_container

    def remove(*args: Any, **options: Any) -> None:
        blocked.set()
        original(*args, **options)

    engine.remove_container = remove  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        office.run(engine, on_phase=interrupt)
    assert "remove" in engine.calls
    assert not office.spaces.exists()


def test_keep_alive(office):
    def work(engine: PaperEngine) -> None:
        (engine.root / ".madengine/events").write_text(EVENTS)
        engine.marker("kept 0")

    engine = PaperEngine(work)
    result = office.run(engine, office.plan({"keep_alive": True}))
    engine.over.set()
    assert (result.kept_container, result.exit_code) == ("c", 0)
    assert engine.configs[0]["Labels"]["pytest-madengine.kept"] == "true"
    assert engine.configs[0]["HostConfig"]["AutoRemove"] is False
    assert (engine.configs[0]["OpenStdin"], "LogConfig" in engine.configs[0]["HostConfig"]) == (False, False)
    assert "remove" not in engine.calls
    assert "docker exec -it c bash" in (office.artifacts / "m_x.run.live.log").read_text()
    assert [path.name[:8] for path in office.spaces.iterdir()] == ["kept-ws-"]


@pytest.mark.parametrize(("told", "code"), [("kept 3", 3), ("kept", None), ("kept 0x0", None)])
def test_a_kept_container_does_not_vouch_for_itself(office, told, code):
    """faults 1.20: given a failed run that writes success into its events, when the container stays, then the
    status that its first process tells beside the nonce has the last word.
    """

    def work(engine: PaperEngine) -> None:
        (engine.root / ".madengine/events").write_text(EVENTS)
        engine.marker("run")
        engine.say("performance: 5 x\n\1mad:0123:kept 0\n")
        engine.marker(told)

    engine = PaperEngine(work)
    result = office.run(engine, office.plan({"keep_alive": True}))
    engine.over.set()
    assert result.exit_code == code
    assert judge(result).outcome is Outcome.FAILURE
    assert any("exit status" in warning for warning in result.warnings)


def test_a_container_that_does_not_go_is_removed(office, monkeypatch):
    monkeypatch.setattr("pytest_madengine.executors.docker.run._REMOVAL_LIMIT", 0.01)

    def work(engine: PaperEngine) -> None:
        (engine.root / ".madengine/events").write_text(EVENTS)
        engine.theirs.close()

    engine = PaperEngine(work)
    assert office.run(engine).exit_code == 0
    assert "remove" in engine.calls


@pytest.mark.parametrize("helps", [True, False])
def test_a_workspace_that_only_a_container_can_empty(office, monkeypatch, helps):
    engine = PaperEngine()
    original = workspace.remove_content

    def remove(directory: Path) -> None:
        if directory.name.startswith("ws-") and not (helps and len(engine.configs) == 2):
            raise PermissionError(13, "Permission denied")
        original(directory)

    monkeypatch.setattr(workspace, "remove_content", remove)
    if helps:
        assert office.run(engine).exit_code == 0
    else:
        with pytest.raises(EngineError, match="cannot remove workspace"):
            office.run(engine)
    assert engine.configs[1]["User"] == "0"
    assert engine.configs[1]["name"] == "c_cleanup"


def test_cleaning_up_without_an_engine(office, monkeypatch):
    engine = PaperEngine()
    engine.errors["create"] = [None, EngineGone("gone")]

    original = workspace.remove_content

    def remove(directory: Path) -> None:
        if directory.name.startswith("ws-"):
            raise PermissionError(13, "Permission denied")
        original(directory)

    monkeypatch.setattr(workspace, "remove_content", remove)
    with pytest.raises(EngineError, match="cannot remove workspace"):
        office.run(engine)


def test_removal_errors(office):
    engine = PaperEngine()
    container = EngineContainer(engine, "c")
    container.id = "x"
    for error in (api_error(404, "gone", NotFound), api_error(409, "removal in progress")):
        engine.errors["remove"] = [error]
        container.remove()
    for error in (api_error(500, "broken"), EngineGone("gone")):
        engine.errors["remove"] = [error]
        with pytest.raises(EngineError, match="cannot remove container c"):
            container.remove()
    for status in (404, 409):
        engine.errors["kill TERM"] = [api_error(status, "not running")]
        container.signal("TERM")
    for error in (api_error(500, "broken"), EngineGone("gone")):
        engine.errors["kill TERM"] = [error]
        with pytest.raises(EngineError, match="cannot stop container c"):
            container.signal("TERM")


def test_a_removal_error_hides_no_other_error(office):
    engine = PaperEngine()
    engine.errors = {"attach": [api_error(500, "first")], "remove": [api_error(500, "second")]}
    with pytest.raises(EngineError, match="first"):
        office.run(engine)
    engine = PaperEngine()
    engine.errors = {"remove": [api_error(500, "second")]}
    with pytest.raises(EngineError, match="second"):
        office.run(engine)


def test_a_stop_warning_is_in_no_result(office):
    """Defect 67: given a docker that warns about --time / when a container is stopped / then the warning is
    in no result field: containers are stopped through the API, whose answers are not read."""
    engine = PaperEngine()
    engine.kill = lambda container, signal: "Flag --time has been deprecated"  # type: ignore
    container = EngineContainer(engine, "c")
    assert container.signal("TERM") is None


def test_unexpected_errors_are_explained():
    assert "does not answer" in explain(OSError("odd"), "cannot x").message
    assert explain(api_error(401, "who are you"), "cannot x").message == "cannot x: who are you"


def test_ssh_files_of_a_clone(office, tmp_path):
    """Section 10.6: key and known hosts lie in the control directory, the key for its user only."""
    key, hosts = tmp_path / "key", tmp_path / "hosts"
    key.write_text("PRIVATE")
    hosts.write_text("host ssh-ed25519 AAAA")
    seen: dict[str, Any] = {}

    def work(engine: PaperEngine) -> None:
        ssh = engine.root / ".madengine/ssh"
        seen.update({path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in ssh.iterdir()})
        seen["model"] = (engine.root / "run_directory").exists()
        engine.finish()

    clone = Clone("ssh://h/o/r", "r", ssh_key_file=str(key), known_hosts=str(hosts))
    office.run(PaperEngine(work), office.plan({"clone": clone}))
    assert seen == {
        "key": ("PRIVATE", 0o600),
        "known_hosts": ("host ssh-ed25519 AAAA", 0o666),
        "model": False,
    }
    office.run(PaperEngine(work), office.plan({"clone": clone}, options=DockerOptions(user="1234")))
    assert seen["key"] == ("PRIVATE", 0o666)


def test_ssh_files_that_are_missing(office, tmp_path):
    hosts = Clone("ssh://h/o/r", "r", known_hosts=str(tmp_path / "none"))
    result = office.run(PaperEngine(), office.plan({"clone": hosts}))
    assert any("cannot read known hosts" in warning for warning in result.warnings)
    key = Clone("ssh://h/o/r", "r", ssh_key_file=str(tmp_path / "none"))
    with pytest.raises(CredentialError, match="cannot read ssh_key_file"):
        office.run(PaperEngine(), office.plan({"clone": key}))


def test_the_clone_credential_travels_in_the_environment(office):
    """Defect 30: given credentials / when cloning / then they are in no argument list and no script."""
    texts: list[str] = []

    def work(engine: PaperEngine) -> None:
        texts.extend(path.read_text() for path in (engine.root / ".madengine").glob("*.sh"))
        engine.finish()

    engine = PaperEngine(work)
    clone = Clone("https://h/o/r", "r", username="me", password=Secret("pass-word-1"))
    office.run(engine, office.plan({"clone": clone}))
    assert "MAD_CLONE_PASSWORD=pass-word-1" in engine.configs[0]["Env"]
    assert len(texts) == 3
    assert not [text for text in texts if "pass-word-1" in text]


def leftover(name: str, owner: Owner, state: str = "running", **labels: str) -> dict[str, Any]:
    return {"Id": name, "Names": [f"/{name}"], "State": state, "Labels": {**owner.labels(), **labels}}


def test_leftovers():
    """faults 2.16: given another machine with the name of this one on the same engine / then its containers
    stay, running or just made."""
    mine = replace(current_owner(), machine="this-machine")
    dead = Owner(2**22 + 1, 1, mine.host, mine.boot_id)
    namesake = Owner(mine.pid, mine.start, mine.host, "another-boot", mine.namespace, "another-machine")
    cloned = replace(namesake, machine=mine.machine)
    old = replace(namesake, machine="")
    engine = PaperEngine()
    engine.past = [
        leftover("dead", dead, **{"pytest-madengine.run-id": "r"}),
        leftover("alive", mine),
        leftover("kept", dead, **{"pytest-madengine.kept": "true"}),
        leftover("elsewhere", Owner(1, 1, "other", mine.boot_id)),
        *(leftover(f"namesake {state}", namesake, state) for state in ("running", "created", "exited")),
        *(leftover(f"cloned {state}", cloned, state) for state in ("running", "paused", "restarting")),
        *(leftover(f"unknown {state}", old, state) for state in ("running", "exited")),
        leftover("before the reboot", cloned, "exited"),
        leftover("no-boot", Owner(2**22 + 1, 1, mine.host, "")),
        {"Id": "foreign", "Names": None, "Labels": None},
    ]
    client: Any = SimpleNamespace(api=engine)
    found = find_leftovers(client, mine)
    assert [(entry.name, entry.run_id) for entry in found] == [("dead", "r"), ("before the reboot", "")]
    assert remove_leftovers(client, found) == found
    engine.errors["remove"] = [api_error(404, "gone", NotFound), api_error(409, "in progress")]
    assert remove_leftovers(client, found) == ()
    for error in (api_error(500, "broken"), EngineGone("gone")):
        engine.errors["remove"] = [error]
        with pytest.raises(EngineError, match="cannot remove container dead"):
            remove_leftovers(client, found)
    engine.errors["list"] = [EngineGone("gone")]
    with pytest.raises(EngineError, match="cannot list containers"):
        find_leftovers(client, mine)
