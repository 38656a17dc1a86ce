from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from pytest_madengine.context.probe import CommandOutput, Probe, Tools, run_command


def test_files_are_read_below_the_root(tree):
    probe = tree({"/sys/a": "text\n", "/sys/node10": "", "/sys/node2": ""})
    assert probe.read_text("/sys/a") == "text\n"
    assert probe.exists("/sys/a")
    assert probe.listdir("/sys") == ["a", "node10", "node2"]
    assert probe.glob("/sys/node*") == ["/sys/node10", "/sys/node2"]


@pytest.mark.parametrize("path", ["/absent", "/sys", "/loop", "/sys/a/below", "/a\0b"])
def test_what_cannot_be_read_is_empty(tree, path):
    probe = tree({"/sys/a": "text"})
    (probe.fs_root / "loop").symlink_to("loop")
    assert probe.read_text(path) == ""


@pytest.mark.parametrize("path", ["/absent", "/loop", "/a\0b"])
def test_absent_paths(tree, path):
    probe = tree({})
    (probe.fs_root / "loop").symlink_to("loop")
    assert not probe.exists(path)
    assert probe.listdir(path) == []
    assert probe.which("x", path) == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_is_absent(tree):
    probe = tree({"/sys/a/b": "text"})
    (probe.fs_root / "sys/a").chmod(0)
    try:
        assert probe.read_text("/sys/a/b") == ""
        assert not probe.exists("/sys/a/b")
        assert probe.listdir("/sys/a") == []
    finally:
        (probe.fs_root / "sys/a").chmod(0o755)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "I/O error")])
def test_errors_of_the_kernel_are_absence(tree, monkeypatch, error):
    probe = tree({"/usr/bin/tool": "#!"})

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    for name in ("open", "exists", "iterdir", "glob", "is_file"):
        monkeypatch.setattr(Path, name, fail)
    assert probe.read_text("/usr/bin/tool") == ""
    assert not probe.exists("/usr/bin/tool")
    assert probe.listdir("/usr/bin") == []
    assert probe.glob("/usr/*") == []
    assert probe.which("tool") == ""


def test_bytes_that_are_not_utf8_are_replaced(tree):
    probe = tree({})
    (probe.fs_root / "a").write_bytes(b"x\xff")
    assert probe.read_text("/a") == "x�"


def test_which_looks_at_path_then_at_the_directories_and_wants_executables(tree):
    probe = tree({"/usr/bin/plain": "text", "/usr/bin/a": "#!", "/opt/x/bin/a": "#!", "/opt/x/bin/b": "#!"})
    assert probe.which("a", "/opt/x/bin") == "/usr/bin/a"
    assert probe.which("b", "/opt/x/bin/") == "/opt/x/bin/b"
    assert probe.which("plain") == ""
    assert probe.which("b") == ""


def test_which_ignores_relative_path_entries(tree, monkeypatch):
    probe = tree({"/bin/a": "#!"}, PATH="bin:.::/sbin")
    monkeypatch.chdir(probe.fs_root)
    assert probe.which("a") == ""


def test_realpath_stays_below_the_root(tree, tmp_path):
    probe = tree({"/opt/rocm-6/bin/a": "#!"})
    (probe.fs_root / "opt/rocm").symlink_to("rocm-6")
    (probe.fs_root / "out").symlink_to(tmp_path)
    assert probe.realpath("/opt/rocm/bin/a") == "/opt/rocm-6/bin/a"
    assert probe.realpath("/out") == "/out"


def test_commands_get_no_secrets_and_the_c_locale():
    seen = {}

    def run(argv, timeout, environ):
        seen.update(argv=argv, timeout=timeout, environ=dict(environ))
        return CommandOutput("ok")

    probe = Probe(run=run, environ={"PATH": "/bin", "MAD_SECRETS_X": "hunter22", "HF_TOKEN": "t"})
    assert probe.command(["tool", "$(id)"]).value == "ok"
    assert seen == {
        "argv": ("tool", "$(id)"),
        "timeout": 180.0,
        "environ": {"PATH": "/bin", "LC_ALL": "C"},
    }
    assert "hunter22" not in repr(probe)


def test_streams_are_separate():
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    output = run_command([sys.executable, "-c", script], 60, dict(os.environ))
    assert output == CommandOutput("out\n", "err\n", 3)
    assert output.value == ""


def test_no_shell_and_no_stdin():
    script = "import sys; print(sys.argv[1], repr(sys.stdin.read()))"
    output = run_command([sys.executable, "-c", script, "$(id); `id`"], 60, dict(os.environ))
    assert output.value == "$(id); `id` ''\n"


@pytest.mark.parametrize(
    "argv, code", [(["/absent/tool"], 127), (["/etc/passwd"], 126), (["/bin/true", "a\0b"], 126)]
)
def test_programs_that_cannot_start(argv, code):
    assert run_command(argv, 10, {}).code == code


def test_the_whole_process_group_ends_at_the_limit(tmp_path):
    """The grandchild inherits the pipe: only when it is dead too, the read end of its fifo sees the end."""
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    child = f"import time; stream = open({str(fifo)!r}, 'w'); time.sleep(600)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        output = run_command([sys.executable, "-c", script], 0.2, dict(os.environ))
        assert output.code == 124
        assert "was ended after 0.2 s" in output.stderr
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_a_tool_that_hung_is_not_asked_again(tree):
    probe = tree({"/opt/bin/smi": "#!"}, {"smi -L": CommandOutput(code=124)})
    tools = Tools(probe, "/opt/bin")
    assert tools.has("smi")
    assert tools.run("smi", "-L").code == 124
    assert not tools.has("smi")
    assert tools.run("smi", "-q").code == 127
    assert tools.run("absent").code == 127
    assert probe.run.asked == ["smi -L"]
    assert tools.hung == ("smi",)


def test_the_real_probe_looks_at_this_host():
    probe = Probe.real({"PATH": os.defpath})
    assert probe.fs_root == Path("/")
    assert probe.read_text("/proc/self/status")
    assert probe.command(["/bin/echo", "x"]).value == "x\n"


def test_an_interrupt_ends_the_command(monkeypatch):
    import subprocess

    killed = []
    original = subprocess.Popen.communicate

    def interrupted(self, *args, **kwargs):
        if not killed:
            killed.append(self)
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_command(["/bin/sleep", "600"], 600, {})
    assert killed[0].returncode == -9


def test_a_command_that_cannot_be_killed_is_left_behind(monkeypatch):
    import subprocess

    started = []

    def stuck(self, *args, **kwargs):
        started.append(self)
        raise subprocess.TimeoutExpired("x", 1)

    original = subprocess.Popen.communicate
    monkeypatch.setattr(subprocess.Popen, "communicate", stuck)
    assert run_command(["/bin/sleep", "600"], 1, {}).code == 124
    monkeypatch.setattr(subprocess.Popen, "communicate", original)
    started[0].wait()
