"""What a run leaves: collected files and the results file (sections 10.1 and 12.3)."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from pytest_madengine.executors.artifacts import PATTERNS, Collector
from pytest_madengine.executors.before import Before
from pytest_madengine.secrets import Redactor
from pytest_madengine.util.files import open_regular, read_regular

#: Nothing existed before the run.
NOTHING = Before([], [], "")


class Space:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "root"
        self.model = self.root / "run_directory"
        self.model.mkdir(parents=True)
        self.artifacts = tmp_path / "artifacts"
        self.artifacts.mkdir()

    def write(self, name: str, text: str = "x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def collector(self, *foreign: str, secrets: tuple[str, ...] = (), **options: bool) -> Collector:
        return Collector(
            self.root, self.model, frozenset(foreign), self.artifacts, Redactor(secrets), **options
        )

    def found(self) -> set[str]:
        files = (path for path in self.artifacts.rglob("*") if path.is_file())
        return {str(path.relative_to(self.artifacts)) for path in files}


@pytest.fixture
def space(tmp_path) -> Space:
    return Space(tmp_path)


def test_the_patterns_of_the_contract(space):
    """Section 10.1: collected names, from workspace root and model directory."""
    wanted = [
        "m_env.csv", ".m_env/os/os.txt", "rocprof_output/a/b.json", "prof_output.csv",
        "library_trace.csv", "x_trace.csv", "perf_x.csv", "results.txt", "results/deep/x",
    ]  # fmt: skip
    for name in wanted:
        space.write(name)
        space.write(
            f"run_directory/sub_{name}" if not name.startswith((".", "lib", "perf", "res")) else "other"
        )
    for name in ("run.sh", "perf.csv.txt", "deep/results.txt", ".hidden_output"):
        space.write(name)
    collected = space.collector().collect(PATTERNS)
    assert space.found() >= {*wanted, "sub_m_env.csv", "sub_prof_output.csv", "sub_x_trace.csv"}
    assert not space.found() & {"run.sh", "deep/results.txt", ".hidden_output", "other"}
    assert "rocprof_output" in collected


def test_foreign_entries_are_not_collected(space):
    """Mount points of the MAD root look like empty files on the host."""
    space.write("results_old.csv", "")
    space.write(".madengine/results.txt")
    space.write("run_directory/results.txt", "new")
    assert space.collector("results_old.csv").collect(PATTERNS) == ("results.txt",)
    assert (space.artifacts / "results.txt").read_text() == "new"


def test_a_model_directory_that_looks_like_a_result(tmp_path):
    space = Space(tmp_path)
    space.model = space.root / "results-repo"
    space.write("results-repo/code.py")
    assert space.collector().collect(PATTERNS) == ()


def test_names_that_are_taken(space):
    space.write("results.txt", "root")
    space.write("run_directory/results.txt", "model")
    space.write("results.live.log", "not our log")
    assert set(space.collector().collect(PATTERNS)) == {
        "results.txt", "run_directory/results.txt", "run_directory/results.live.log",
    }  # fmt: skip
    assert (space.artifacts / "results.txt").read_text() == "root"


def test_a_file_of_an_earlier_attempt_gives_way(space):
    (space.artifacts / "results.txt").write_text("old")
    space.write("results.txt", "new")
    space.collector().collect(PATTERNS)
    assert (space.artifacts / "results.txt").read_text() == "new"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("out/*.json", {"out/a.json"}),
        ("out/**/*.json", {"out/a.json", "out/deep/b.json"}),
        ("**/b.json", {"out/deep/b.json"}),
        ("out", {"out/a.json", "out/deep/b.json", "out/c.txt"}),
        ("../*", set()),
        ("/etc/*", set()),
        ("*/[ab].json", {"out/a.json"}),
        ("none*", set()),
    ],
)
def test_globs_of_the_user(space, pattern, expected):
    for name in ("out/a.json", "out/deep/b.json", "out/c.txt"):
        space.write(name)
    space.collector().collect((pattern,))
    assert space.found() == expected


def test_links_never_lead_out(space, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("outside")
    space.write("results/real", "inside")
    (space.root / "results/in").symlink_to("real")
    (space.root / "results/out").symlink_to(outside / "secret")
    (space.root / "results_dir").symlink_to(outside)
    (space.root / "results_dangling").symlink_to("nowhere")
    os.mkfifo(space.root / "results_pipe")
    collector = space.collector()
    collector.collect((*PATTERNS, "results_dir/*"))
    assert space.found() == {"results/real", "results/in"}
    assert (space.artifacts / "results/in").read_text() == "inside"
    assert len([text for text in collector.warnings if "leads out" in text]) == 3


def test_a_model_directory_that_became_a_link(space, tmp_path):
    space.model.rmdir()
    space.model.symlink_to(tmp_path)
    assert space.collector(keep_model_dir=True).collect(("*",)) == ()


def test_secrets_in_collected_files(space):
    space.write("results.txt", "a s3cr3t-token b")
    space.write("results_clean", "nothing")
    (space.root / "results.bin").write_bytes(b"\0" * 1_048_570 + b"s3cr3t-token")
    collector = space.collector(secrets=("s3cr3t-token",))
    collector.collect(PATTERNS)
    assert (space.artifacts / "results.txt").read_text() == "a *** b"
    assert b"s3cr3t" not in (space.artifacts / "results.bin").read_bytes()
    assert len(collector.warnings) == 2


def test_keep_model_dir(space):
    space.write("run_directory/results.txt")
    space.write("run_directory/code/x.py")
    assert space.collector(keep_model_dir=True).collect(PATTERNS) == ("results.txt",)
    assert space.found() == {"results.txt", "run_directory/results.txt", "run_directory/code/x.py"}


def test_a_kept_model_directory_has_no_pipes(space):
    """faults 1.20: given a model that leaves a pipe, when its directory is kept, then no reader of the
    artifacts can wait for it.
    """
    space.write("run_directory/code/x.py")
    os.mkfifo(space.model / "code/pipe.log")
    space.collector(keep_model_dir=True).collect(())
    assert [path.name for path in (space.artifacts / "run_directory/code").iterdir()] == ["x.py"]


def test_copies_while_a_container_goes_on(space):
    space.write("results.txt", "root")
    space.write("run_directory/results.txt", "model")
    os.mkfifo(space.model / "pipe")
    space.collector(copy=True, keep_model_dir=True).collect(PATTERNS)
    assert (space.root / "results.txt").exists()
    assert (space.artifacts / "run_directory/results.txt").read_text() == "model"


def test_a_file_that_cannot_be_moved(space, monkeypatch):
    space.write("results.txt")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.move", refuse)
    collector = space.collector()
    assert collector.collect(PATTERNS) == ()
    assert collector.warnings == ["cannot collect results.txt: Permission denied"]


MODEL = "/myworkspace/run_directory/r.csv"


def test_results_of_the_workspace_root_come_first(space):
    """Section 12.3, place."""
    space.write("r.csv", "root")
    space.write("run_directory/r.csv", "model")
    assert space.collector().read_results("r.csv", NOTHING, 0) == "root"
    assert space.collector("r.csv").read_results("r.csv", NOTHING, 0) == "model"


@pytest.mark.parametrize(
    "how",
    ["moved", "copied", "hard link", "touched", "in place", "from the repository", "from above", "linked to"],
)
def test_results_that_were_there_before(space, tmp_path, how):
    """faults 1.10, defect 2: given a file that existed before the run, when it becomes the results file in
    whatever way, then it is no result of the run, and that is said.
    """
    old = space.write("run_directory/sub/old.csv", "model,performance,metric\n1,1,x\n")
    committed = tmp_path / "mad/scripts/m/committed\n.csv"
    committed.parent.mkdir(parents=True)
    committed.write_text("model,performance,metric\n1,2,x\n")
    path = space.model / "r.csv"
    before = Before([space.model], [tmp_path / "mad"], ".csv")
    if how == "moved":
        old.rename(path)
    elif how == "hard link":
        path.hardlink_to(old)
    elif how == "from the repository":
        shutil.copyfile(committed, path)
    elif how == "from above":
        shutil.copyfile(old, space.root / "r.csv")
    elif how == "linked to":
        path.symlink_to(old)
    else:
        shutil.copyfile(old, path)
    if how == "touched":
        os.utime(path, (time.time() + 10**6,) * 2)
    if how == "in place":
        path.write_text(old.read_text())
    collector = space.collector()
    assert collector.read_results("r.csv", before, 0) is None
    assert "was there before the run and is not a result of it" in collector.warnings[0]


def test_results_that_replace_what_was_there(space):
    """faults 1.10: given a committed results file, when the run writes another one over it, then that counts;
    one with an older time than the run does not, nor any when the script never started.
    """
    path = space.write("run_directory/r.csv", "old")
    before = Before([space.model], [], ".csv")
    path.write_text("new")
    written = path.stat().st_mtime_ns
    assert space.collector().read_results("r.csv", before, written) == "new"
    assert space.collector().read_results("r.csv", before, written + 1) is None
    assert space.collector().read_results("r.csv", None, None) is None


def test_a_pipe_in_the_place_of_a_file_blocks_nobody(space):
    """faults 1.20: given pipes where the host reads files, then nothing waits for a writer."""
    for name in ("r.csv", "run_directory/a.csv"):
        (space.root / name).parent.mkdir(exist_ok=True)
        os.mkfifo(space.root / name)
    before = Before([space.model], [space.root], ".csv")
    assert not before.had(b"x", 0)
    assert read_regular(space.root / "r.csv", 10) is None
    assert space.collector().read_results("r.csv", before, 0) is None
    with pytest.raises(OSError):
        open_regular(space.root / "r.csv")


def test_a_tree_that_is_too_deep_is_left_with_a_note(space):
    """faults 2.9: given a deep tree among what is collected, then the rest is collected, and it is said."""
    space.write("results/a.txt", "a")
    deep = space.root / "results"
    for _ in range(100):
        deep = deep / "d"
        deep.mkdir()
    collector = space.collector()
    assert "results" in collector.collect(["results*"])
    assert (space.artifacts / "results/a.txt").read_text() == "a"
    assert collector.warnings == ["results is deeper than 64 directories: not collected wholly"]


@pytest.mark.parametrize(
    "name", ["none.csv", "../r.csv", "/etc/passwd", ".madengine/r.csv", "pipe", "out", "link"]
)
def test_no_results(space, tmp_path, name):
    space.write(".madengine/r.csv")
    (tmp_path / "r.csv").write_text("outside")
    os.mkfifo(space.root / "pipe")
    (space.root / "out").mkdir()
    (space.root / "link").symlink_to(tmp_path / "r.csv")
    assert space.collector().read_results(name, NOTHING, 0) is None


def test_results_behind_a_link_with_odd_bytes_and_secrets(space):
    (space.root / "data.csv").write_bytes(b"\xef\xbb\xbfmodel,\xff,s3cr3t-token\n")
    (space.root / "r.csv").symlink_to("data.csv")
    text = space.collector(secrets=("s3cr3t-token",)).read_results("r.csv", NOTHING, 0)
    assert text == "model,\ufffd,***\n"


def test_results_that_are_too_large(space, monkeypatch):
    monkeypatch.setattr("pytest_madengine.executors.artifacts.LARGEST_RESULTS", 3)
    space.write("r.csv", "long text")
    collector = space.collector()
    assert collector.read_results("r.csv", NOTHING, 0) is None
    assert "more than 3 bytes" in collector.warnings[0]


def test_names_of_collected_files_are_readable_and_have_no_secrets(space):
    """faults 1.4, 4.1: given files whose names are not UTF-8, have control characters or a secret / when they
    are collected / then they are there under readable names, each under its own, without an asterisk, which
    tools that upload artifacts refuse."""
    names = ("results_\udcff", "results_\x1b[1m", "results_s3cr3t-token", "results_S3CR3T-TOKEN")
    for name in names:
        space.write(name, name.encode("utf-8", "surrogateescape").hex())
    collected = space.collector(secrets=("s3cr3t-token",)).collect(["results*"])
    assert sorted(collected) == ["results_%1B[1m", "results_%FF", "results____", "results____.2"]
    assert len({(space.artifacts / name).read_text() for name in collected}) == 4


def test_names_in_collected_directories_stay_apart(space):
    """faults 4.1: given a directory with files whose names are one after the secret in them is masked / when
    it is collected / then all of them are there."""
    for name in ("s3cr3t-token", "S3CR3T-TOKEN", "___"):
        space.write(f"results/{name}", name)
    space.collector(secrets=("s3cr3t-token",)).collect(["results*"])
    assert {path.name for path in (space.artifacts / "results").iterdir()} == {"___", "___.2", "___.3"}
