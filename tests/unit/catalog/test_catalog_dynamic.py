"""``get_models_json.py`` in its child process (contract section 6)."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_madengine.catalog.discovery import Source
from pytest_madengine.catalog.dynamic import DynamicFile, child_environment
from pytest_madengine.catalog.service import list_models, select_models
from pytest_madengine.errors import CatalogError, SelectorError

FILE = "scripts/d/get_models_json.py"
HEADER = "from madengine.tools.discover_models import CustomModel\n"
PATHS = "dockerfile='../../docker/m', scripts='run.sh'"

Root = Callable[..., Path]


@pytest.fixture
def root(make_root: Any) -> Root:
    """Makes a MAD root whose only models come from this Python text."""

    def make(text: str, **files: Any) -> Path:
        path: Path = make_root({FILE: text, **files})
        return path

    return make


def error_of(root: Path, *selectors: str, **options: Any) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        select_models(root, selectors or ["all"], environ={}, **options)
    return caught.value


@pytest.mark.parametrize("module", ["tools", "utils"])
def test_both_historic_imports(root: Root, module: str) -> None:
    """Contract 6: both modules offer CustomModel, with its field order and defaults."""
    text = f"""
from madengine.{module}.discover_models import CustomModel
import madengine.tools.discover_models, madengine.utils.discover_models
assert madengine.tools.discover_models.CustomModel is madengine.utils.discover_models.CustomModel
def list_models():
    return (CustomModel(name) for name in "ab")
"""
    first, second = list_models(root(text), environ={}).models
    assert (first.name, second.name, second.index) == ("d/a", "d/b", 1)
    assert list(first.raw.items()) == [
        ("name", "d/a"),
        ("dockerfile", ""),
        ("dockercontext", ""),
        ("scripts", ""),
        ("url", ""),
        ("cred", ""),
        ("owner", ""),
        ("data", ""),
        ("n_gpus", "-1"),
        ("timeout", 7200),
        ("training_precision", ""),
        ("tags", []),
        ("args", ""),
        ("multiple_results", ""),
        ("skip_gpu_arch", ""),
    ]
    assert (first.n_gpus, first.timeout, first.source, first.dynamic) == (-1, 7200, FILE, True)


UPDATING = f"""
import os
from dataclasses import dataclass, field
{HEADER}
@dataclass
class Mine(CustomModel):
    sizes: dict = field(default_factory=dict)
    def update_model(self):
        with open(os.environ["CALLS"], "a") as stream:
            print(self.name, file=stream)
        assert not self.scripts
        self.dockerfile = "../../docker/" + self.name
        self.scripts = os.path.basename(__file__)
        self.sizes["rows"] = [1, None, 2.5, True]

def list_models():
    return [Mine("a", tags=["t"]), Mine("b", tags=["t"]), Mine("c")]
"""


def test_update_only_what_is_selected(root: Root, tmp_path: Path) -> None:
    """Contract 6: update_model() once per selected model, before path rewriting; subclass fields."""
    calls = tmp_path / "calls"
    selection = select_models(
        root(UPDATING), ["d/c:x=1", "d/a", "t:y", "d:a:z"], environ={"CALLS": str(calls)}
    )
    assert sorted(calls.read_text().split()) == ["a", "b", "c"]
    names = [item.model.name for item in selection.items]
    assert names == ["d/c", "d/a", "d/a", "d/b", "d/a"]
    models = {item.model.name: item.model for item in selection.items}
    assert models["d/b"].dockerfile == "docker/b"
    assert models["d/b"].scripts == FILE
    assert models["d/b"].raw["sizes"] == {"rows": [1, None, 2.5, True]}
    assert models["d/b"].raw["scripts"] == FILE
    assert selection.catalog.models == tuple(models[name] for name in ("d/a", "d/b", "d/c"))
    assert selection.warnings == ()


def test_unselected_models_are_not_updated(root: Root, tmp_path: Path) -> None:
    """Contract 6: listing calls no update_model()."""
    path, calls = root(UPDATING), tmp_path / "calls"
    environ = {"CALLS": str(calls)}
    assert len(list_models(path, environ=environ).models) == 3
    assert not calls.exists()
    select_models(path, ["b"], environ=environ)
    assert calls.read_text() == "b\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = 1", f"{FILE}: Please define a list_models function in get_models_json.py."),
        ("list_models = []", f"{FILE}: Please define a list_models function in get_models_json.py."),
        (
            "def list_models(): return [{'name': 'x'}]",
            f"{FILE}: Please use or subclass madengine.tools.discover_models.CustomModel "
            "to define your custom model.",
        ),
        ("def list_models():\n\n  raise ValueError('no\\nway')", f"{FILE}:3: ValueError: no way"),
        ("x = 1\ny = = 2", f"{FILE}:2: SyntaxError: invalid syntax"),
        ("def list_models(): return 1", f"{FILE}: TypeError: 'int' object is not iterable"),
        ("def list_models(a): return []", f"{FILE}: TypeError: list_models() missing"),
        ("import sys; sys.exit(3)", f"{FILE}:1: SystemExit: 3"),
        ("import no_such_package", f"{FILE}:1: ModuleNotFoundError: No module named 'no_such_package'"),
        (
            "class E(Exception):\n def __str__(self): 1/0\nraise E",
            f"{FILE}:3: E: <",
        ),
        ("import os; os._exit(7)", f"{FILE}: ended with exit status 7 without an answer"),
        ("import os; os.kill(os.getpid(), 9)", f"{FILE}: ended with signal 9 without an answer"),
        (
            HEADER + "def list_models(): return [CustomModel('a', data={1})]",
            "field 'data' is no JSON value but set",
        ),
        (HEADER + "def list_models(): return [CustomModel('a', data=float('nan'))]", "JSON value but float"),
        (HEADER + "def list_models(): return [CustomModel('a', data={1: 2})]", "is no JSON value but dict"),
        (HEADER + "def list_models(): return [CustomModel('a', data=[b''])]", "is no JSON value but list"),
        (HEADER + "def list_models(): return [CustomModel('a', data='\\udc80')]", "is no JSON value but str"),
        (
            HEADER + "def list_models(): return [CustomModel('a', timeout='x')]",
            "entry 1 ('a'): field 'timeout': ",
        ),
        (HEADER + "def list_models(): return [CustomModel('a')] * 2", "field 'name': duplicate"),
        (HEADER + "def list_models(): return [CustomModel('a')]", "field 'scripts': is missing"),
        (
            HEADER
            + "class C(CustomModel):\n  def __init__(self): self.name = 'c'\ndef list_models(): return [C()]",
            f"{FILE}: model 'c': field 'tags' is not set",
        ),
    ],
)
def test_failures(root: Root, text: str, message: str) -> None:
    """Contract 6, table of failures; values that are no JSON types name model and field."""
    assert message in error_of(root(text)).message


@pytest.mark.parametrize(
    "statement, message",
    [
        ("self.name = 'b'", "model 'a': update_model() must not change the name"),
        ("self.tags.append('x')", "model 'a': update_model() must not change the tags"),
        (
            "self.scripts = '../../../x'",
            "entry 1 ('a'): field 'scripts': the path '../../../x' leaves the MAD",
        ),
        ("raise KeyError('k')", f"{FILE}:4: KeyError: 'k'"),
    ],
)
def test_failing_update(root: Root, statement: str, message: str) -> None:
    """Contract 6: changing name or tags is an error; so is any exception."""
    text = f"""{HEADER}
class Mine(CustomModel):
    def update_model(self): {statement}
def list_models(): return [Mine("a", tags=["t"], {PATHS})]
"""
    assert message in error_of(root(text)).message


NOISY = "import sys\nprint('x' * 300000, file=sys.stderr)\nprint('last words')\n"


def test_output_is_not_shown(root: Root, capfd: pytest.CaptureFixture[str]) -> None:
    """Contract 6: what a good file prints is shown nowhere; no model is only a warning."""
    catalog = list_models(root(NOISY + "def list_models(): return []"), environ={})
    assert capfd.readouterr() == ("", "")
    assert catalog.models == ()
    (warning,) = catalog.warnings
    assert warning.message.startswith(f"{FILE}: list_models() returned no model")


@pytest.mark.parametrize("end", ["def list_models(): 1/0", "import os; os._exit(1)"])
def test_output_is_shown_on_error(root: Root, end: str) -> None:
    """Contract 6: stdout and stderr are shown on error, bounded; an exception with its traceback."""
    tail = error_of(root(NOISY + end)).log_tail
    assert "last words" in tail
    assert len("".join(tail)) < 20_000
    if "1/0" in end:
        assert tail[-1] == "ZeroDivisionError: division by zero"
        assert "dynamic_child" not in "".join(tail)


def ended(pid: int) -> bool:
    """Waits for a process; True when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)


HANGING = """
import os, subprocess
program = subprocess.Popen(["sleep", "1000"])
with open({file!r}, "w") as stream:
    print(os.getpid(), program.pid, file=stream)
print("so far")
program.wait()
"""


def test_time_limit_ends_the_process_group(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 6: time limit, exact text; the child and what it started are gone."""
    pids = tmp_path / "pids"
    path = root(HANGING.format(file=str(pids)))
    # The clock jumps once the child has said what it started; its output wakes us up.
    clock = SimpleNamespace(monotonic=lambda: 1e6 if pids.exists() and pids.read_text() else 0.0)
    monkeypatch.setattr("pytest_madengine.catalog.dynamic.time", clock)
    with pytest.raises(CatalogError) as caught:
        list_models(path, environ=os.environ, dynamic_timeout=60)
    assert caught.value.message == "get_models_json.py in scripts/d did not finish within 60 s"
    assert caught.value.log_tail == ("so far",)
    assert all(ended(int(pid)) for pid in pids.read_text().split())


def test_a_request_that_no_pipe_holds(root: Root) -> None:
    """faults 2.13: given a child that is stopped, when it is asked to update more models than a pipe holds
    the names of, then the time limit ends that too.
    """
    path = root(f"{HEADER}import os\ndef list_models():\n    return [CustomModel(str(os.getpid()))]\n")
    with DynamicFile(path, Source(FILE, "d", True), {}, 0.5) as file:
        (entry,) = file.list_models()
        assert isinstance(entry, dict)
        os.kill(int(entry["name"]), signal.SIGSTOP)
        with pytest.raises(CatalogError, match="did not finish within"):
            file.update_models(range(50_000))


def test_a_long_request_arrives(root: Root) -> None:
    """faults 2.13: given a request longer than a pipe, when the child reads it, then all of it arrives."""
    path = root(f"{HEADER}def list_models():\n    return [CustomModel('m')]\n")
    with DynamicFile(path, Source(FILE, "d", True), {}, 60) as file:
        file.list_models()
        assert len(file.update_models([0] * 50_000)) == 50_000


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    with open({file!r}, "w") as stream:
        print(os.getpid(), file=stream)
    while True:
        time.sleep(1000)
os.wait()
while not os.path.exists({file!r}) or not open({file!r}).read():
    time.sleep(0.01)
{end}
"""


@pytest.mark.parametrize("end", ["def list_models(): return []", "1 / 0", "os._exit(7)", "while True: pass"])
def test_a_daemon_of_the_file_is_gone(root: Root, tmp_path: Path, end: str) -> None:
    """faults 2.17: given a daemon in a session of its own, when listing is over, then it is gone."""
    pids = tmp_path / "pids"
    path = root(DAEMON.format(file=str(pids), end=end))
    with contextlib.suppress(CatalogError):
        list_models(path, environ=os.environ, dynamic_timeout=1 if "while" in end else 60)
    assert ended(int(pids.read_text()))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (r"b'garbage\n'", "(Expecting value at line 1 column 1)"),
        ("b'x' * 3_000_000", "(more than 1,000,000 bytes)"),
        (r"b'9' * 5000 + b'\n'", "(a number of 5,000 digits)"),
        (r"b'[' * 5000 + b'\n'", "(nested deeper than 100)"),
        (r"b'{}\n'", "(without models)"),
        (r"b'[]\n'", "(not an object)"),
    ],
)
def test_what_the_file_writes_to_our_pipe(
    root: Root, monkeypatch: pytest.MonkeyPatch, data: str, message: str
) -> None:
    """faults 2.13: given garbage or a flood on the pipe of the answer, then one line, bounded."""
    monkeypatch.setattr("pytest_madengine.catalog.dynamic._LONGEST_REPLY", 1_000_000)
    write = f"data = {data}\nwhile data:\n    data = data[os.write(int(sys.argv[1]), data):]\n"
    error = error_of(root(f"import os, sys, time\n{write}time.sleep(1000)"))
    assert error.message.startswith(f"{FILE}: something else than its models")
    assert error.message.endswith(message)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("CustomModel('m', tags=[10**5000])", "field 'tags' is no JSON value but list"),
        ("CustomModel('m', timeout=10**400)", "field 'timeout' is no JSON value but int"),
        ("CustomModel('m', args='x' * 9_000_000)", "returned more than 67,108,864 characters"),
    ],
)
def test_models_that_no_file_could_hold(root: Root, model: str, message: str) -> None:
    """faults 2.13: given numbers of 5,000 digits or a generator without end, then one line."""
    text = f"def list_models():\n    while True:\n        yield {model}\n"
    if "args" not in model:
        text = f"def list_models(): return [{model}]"
    assert error_of(root(HEADER + text)).message.endswith(message)


def test_a_generator_without_end(root: Root) -> None:
    """faults 2.13: given an infinite generator of models, then one line after 100,000 of them."""
    text = f"{HEADER}one = CustomModel('m')\ndef list_models():\n    while True:\n        yield one\n"
    assert error_of(root(text)).message.endswith("list_models() returned more than 100,000 models")


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("free", [0, 1, 3, 5])
def test_no_free_descriptors(root: Root, free: int) -> None:
    """faults 2.13: given no free file descriptor, then one line, and none is lost."""
    path = root("def list_models(): return []")
    before = _descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, hard))
    try:
        for one in held[:free]:
            os.close(one)
        with pytest.raises(CatalogError, match="cannot be executed: Too many open files"):
            DynamicFile(path, Source(FILE, "d", True), {}, 1)
    finally:
        for one in held[free:]:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert _descriptors() == before


OWNER = """
import os, sys
from pathlib import Path
from pytest_madengine.catalog.service import list_models
list_models(Path(sys.argv[1]), environ=dict(os.environ))
"""


def test_child_ends_with_its_owner(root: Root, tmp_path: Path) -> None:
    """Promise 3 of the design: nothing is left, also when the owner is killed."""
    pids = tmp_path / "pids.fifo"
    os.mkfifo(pids)
    path = root(HANGING.format(file=str(pids)))
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(path)])
    try:
        found = [int(pid) for pid in pids.read_text().split()]
    finally:
        owner.kill()
        owner.wait()
    assert len(found) == 2
    assert all(ended(pid) for pid in found)


def test_secrets_are_not_in_the_environment() -> None:
    """Contract 14.2, 20: by name, by pattern, by a password in a URL; everything else stays."""
    secret = [
        "MAD_SECRETS_X",
        "MY_MAD_SECRETS",
        "HF_TOKEN",
        "api_key",
        "MAD_DOCKERHUB_PASSWORD",
        "PUBLIC_GITHUB_ROCM_KEY",
        "NAS_NODES",
        "MAD_AWS_S3",
        "MAD_MINIO",
        "MONGO_URI",
    ]
    environ = {**dict.fromkeys(secret, "x"), "PATH": "/bin", "PROXY": "http://h:1/", "P": "http://u:pw@h/"}
    assert child_environment(environ) == {
        "PATH": "/bin",
        "PROXY": "http://h:1/",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def test_untrusted_file(root: Root) -> None:
    """Defect 35: given a get_models_json.py that deletes a file / when another full name is selected /
    then it is not executed; with `all`, its environment has no secrets.
    """
    entry = {"name": "m", "dockerfile": "d", "scripts": "s"}
    text = f"""{HEADER}
import os
os.remove("victim")
def list_models():
    assert "HOME_SWEET" in os.environ
    return [CustomModel("x", {PATHS}, args=" ".join(sorted(os.environ)))]
"""
    path = root(text, **{"models.json": [entry], "scripts/e/models.json": [entry], "victim": ""})
    environ = {"MAD_SECRETS_A": "planted", "GITHUB_TOKEN": "planted", "HOME_SWEET": "1"}
    for selectors in (["m"], ["e/m"], ["e:m:x=1"], ["e/all"], ["/m:d"]):
        select_models(path, selectors, environ=environ)
    assert (path / "victim").exists()
    args = select_models(path, ["all"], environ=environ).items[1].model.args
    assert "SECRETS" not in args
    assert "TOKEN" not in args
    assert not (path / "victim").exists()


def test_isolation(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 6: the MAD root is the current directory, nothing is written there, nothing is read from
    stdin, packages of the parent stay importable, the program's own modules are not in the way.
    """
    text = f"""{HEADER}
import os, sys, helper_of_the_parent
assert os.path.samefile(os.getcwd(), os.path.dirname(__file__) + "/../..")
assert sys.stdin.read() == ""
assert not [path for path in sys.path if path.endswith("pytest_madengine/catalog")]
def list_models(): return [CustomModel(helper_of_the_parent.NAME)]
"""
    path = root(text, **{"parent/helper_of_the_parent.py": "NAME = 'h'"})
    monkeypatch.syspath_prepend(str(path / "parent"))
    before = sorted(path.rglob("*"))
    assert [model.name for model in list_models(path, environ={}).models] == ["d/h"]
    assert sorted(path.rglob("*")) == before


def test_two_directories_at_once(root: Root) -> None:
    """Discovery order does not depend on which child is faster; errors of several files are one."""
    one = f"{HEADER}def list_models(): return [CustomModel('a', {PATHS})]"
    slow = "import time; time.sleep(0.05)\n" + one
    path = root(slow, **{"scripts/e/get_models_json.py": one})
    items = select_models(path, ["all"], environ={}).items
    assert [item.model.name for item in items] == ["d/a", "e/a"]
    (path / FILE).write_text("1/0")
    assert error_of(path).message == f"{FILE}:1: ZeroDivisionError: division by zero"
    (path / "scripts/e/get_models_json.py").write_text("")
    error = error_of(path)
    assert error.message.startswith(f"{FILE}:1: ")
    assert error.log_tail[-1].startswith("scripts/e/get_models_json.py: Please define")


def test_interrupted_while_children_run(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while several children list ends all of them at once."""
    path = root("import time; time.sleep(1000)", **{"scripts/e/get_models_json.py": "1/0"})
    started: dict[str, DynamicFile] = {}
    other_runs = threading.Event()
    original = DynamicFile.list_models

    def interrupting(self: DynamicFile) -> list[object]:
        started[self.source.scope] = self
        if self.source.scope == "d":
            other_runs.set()
        else:
            other_runs.wait()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return original(self)

    monkeypatch.setattr(DynamicFile, "list_models", interrupting)
    with pytest.raises(KeyboardInterrupt):
        list_models(path, environ={})
    pids = [child._process.pid for child in started.values()]
    assert len(pids) == 2
    assert all(ended(pid) for pid in pids)


def test_child_cannot_be_started(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that cannot be started is an error naming the file."""
    path = root("")
    monkeypatch.setattr(sys, "executable", str(path / "nothing"))
    with pytest.raises(CatalogError) as caught:
        DynamicFile(path, Source(FILE, "d", True), {}, 1)
    assert caught.value.message == f"{FILE}: cannot be executed: No such file or directory"


def test_child_that_closes_its_pipes(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that closes all descriptors and lives on is ended and reported."""
    monkeypatch.setattr("pytest_madengine.catalog.dynamic._GRACE", 0.01)
    text = "import os, time\nos.closerange(3, 64)\ntime.sleep(1000)"
    assert error_of(root(text)).message == f"{FILE}: ended with signal 9 without an answer"


# --mad-no-dynamic


@pytest.mark.parametrize("selector", ["d/x", "d:x", "d/all", "d/t"])
def test_no_dynamic_forbids_naming(root: Root, selector: str) -> None:
    """Contract 6: selecting such a model is an error; nothing is executed."""
    with pytest.raises(SelectorError) as caught:
        select_models(root("1/0"), [selector], no_dynamic=True, environ={})
    assert FILE in caught.value.message
    assert "--mad-no-dynamic" in caught.value.message


def test_no_dynamic_leaves_out(root: Root) -> None:
    """Contract 6: `all` and tags select the other models and say what is left out."""
    entry = {"name": "m", "dockerfile": "d", "scripts": "s", "tags": ["t"]}
    path = root("1/0", **{"models.json": [entry]})
    for selector in ("all", "t"):
        selection = select_models(path, [selector, selector], no_dynamic=True, environ={})
        assert [item.model.name for item in selection.items] == ["m"]
        (warning,) = selection.warnings
        assert warning.message == f"{FILE}: not executed (--mad-no-dynamic), its models are left out"
    with pytest.raises(SelectorError) as caught:
        select_models(path, ["short"], no_dynamic=True, environ={})
    assert caught.value.hint == "--mad-no-dynamic left out the models of scripts/d"
    catalog = list_models(path, no_dynamic=True, environ={})
    assert [model.name for model in catalog.models] == ["m"]
    assert len(catalog.warnings) == 1
    with pytest.raises(CatalogError, match="--mad-no-dynamic forbids that"):
        list_models(path, no_dynamic=True, environ={}, files={FILE})
