"""Hostile texts and hostile logs in whole sessions."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from session_support import Repository, tree_hash

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: Prints its arguments and a variable so that every byte can be told.
SHOW = """
printf '%s\\0' "$@" > results_args
printf '%s' "$EVIL" > results_env
printf '%s' "$CONTEXT_EVIL" > results_context
printf '%s' "$param" > results_param
echo performance: 1 x
"""


def read(repository: Repository, item: Path, name: str) -> str:
    return (item / name).read_text()


@pytest.mark.parametrize(
    ("args", "argv"),
    [
        ("--a b", ["--a", "b"]),
        ('--t "x y"', ["--t", "x y"]),
        ("--c $(id -u)", ["--c", "0"]),
        ("--n 'a\nb'", ["--n", "a\nb"]),
        ("'$(touch canary)' \"'\" '\"'", ["$(touch canary)", "'", '"']),
    ],
)
def test_arguments(repository: Repository, args: str, argv: list[str]) -> None:
    """Section 10.2 vectors, defect 27: expanded once, by the container's shell, never by the host's."""
    repository.model("m", SHOW, args=args)
    before = tree_hash(repository.root)
    assert repository.run().code == 0
    assert read(repository, repository.artifacts("m"), "results_args").split("\0")[:-1] == argv
    assert repository.row("m")["args"] == args
    assert tree_hash(repository.root) == before


def test_hostile_texts_everywhere(repository: Repository) -> None:
    """Defect 26: names, tags, args, environment, context, build arguments, parameters and labels with quotes,
    newlines and commands arrive as they are; nothing of it runs on the host."""
    canary = repository.directory / "canary"
    evil = f"'; touch {canary}; $(touch {canary}) `touch {canary}` \"\\\n|& *"
    name = "we'ird; $(id) `id` \" & | name"
    argument = "'; touch here; $(id) \""
    prefix = repository.dockerfile("ARG WORD", 'RUN printf %s "$WORD" > /word', name="args")
    repository.model(
        name,
        SHOW + "cat /word > results_word",
        dockerfile=prefix,
        env_vars={"EVIL": evil},
        tags=["all_of_it", "t'ag; $(touch tagged)"],
        owner=evil,
        training_precision=evil,
    )
    before = tree_hash(repository.root)
    context = {"docker_env_vars": {"CONTEXT_EVIL": evil}, "docker_build_arg": {"WORD": argument}}
    session = repository.run("--mad-context", repr(context), tags="all_of_it:param=x")
    assert session.code == 0, session.output
    (directory,) = [path.parent for path in repository.out.glob("results/*/*/results_env")]
    assert read(repository, directory, "results_env") == evil
    assert read(repository, directory, "results_context") == evil
    assert read(repository, directory, "results_param") == "x"
    assert read(repository, directory, "results_args") == "--param\0x\0"
    assert read(repository, directory, "results_word") == argument
    (row,) = repository.rows()
    assert (row["model"], row["training_precision"], row["status"]) == (name, evil, "SUCCESS")
    assert row["args"].strip() == "--param x"
    assert not canary.exists()
    assert tree_hash(repository.root) == before
    repository.assert_nothing_left()


def test_bytes_that_are_no_text(repository: Repository) -> None:
    """Bad input: invalid UTF-8, NUL and terminal sequences in the log."""
    script = r"printf 'caf\xe9 \xff\xfe\x00 \x1b[31mred\x1b[0m\n'; echo performance: 3 sps; exit 4"
    repository.model("m", script)
    session = repository.run(f"--junitxml={repository.out / 'j.xml'}")
    assert session.code == 1
    assert "Traceback" not in session.output
    assert "caf\ufffd \ufffd\ufffd" in repository.log("m")
    assert repository.row("m")["performance"] == "3"
    assert "\x1b[31m" not in session.output
    assert "red" in ElementTree.tostring(ElementTree.parse(repository.out / "j.xml").getroot(), "unicode")


def peak_memory(repository: Repository, tags: str) -> int:
    """Bytes of the pytest process at its largest."""
    session = repository.start("--mad-sys-env-details=no", tags=tags)
    _, status, usage = os.wait4(session.process.pid, 0)
    session.process.returncode = os.waitstatus_to_exitcode(status)
    assert session.code == 0, session.output
    return usage.ru_maxrss * 1024


def test_a_huge_line(repository: Repository) -> None:
    """Bad input: a line of 100 MB: kept in the log, bounded in memory, the metric after it is found."""
    megabytes = 100
    script = f"head -c {megabytes}000000 /dev/zero | tr '\\0' x; echo; echo performance: 1 sps"
    repository.model("quiet", tags=["quiet"]).model("huge", script, tags=["huge"])
    quiet = peak_memory(repository, "quiet")
    huge = peak_memory(repository, "huge")
    assert huge - quiet < 60e6
    (log,) = repository.artifacts("huge").glob("*.run.live.log")
    assert log.stat().st_size > megabytes * 1e6
    assert repository.row("huge")["performance"] == "1"
    assert all(path.stat().st_size < 1e6 for path in repository.out.glob("*"))
