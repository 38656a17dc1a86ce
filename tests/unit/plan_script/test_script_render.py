"""Rendering of the in-container script: pure text (section 10.3)."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import PlanError
from pytest_madengine.plan.runplan import Clone, DataMount, RunScript, Step
from pytest_madengine.plan.script import clone_environment, marker, render, step_label
from pytest_madengine.secrets import Secret

BASE = {"model_dir": "/myworkspace/run_directory", "script_dir": "scripts/m", "run_line": "bash run.sh"}
#: What bash can hold in a variable: everything but NUL.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def variable(text: str, name: str) -> str:
    """Value that bash gives a variable of the header."""
    header = text.partition("_mad_prepare() {")[0]
    command = f'{header}\nprintf %s "${{{name}}}"'
    return subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout.decode()


def test_files():
    assert sorted(render(RunScript(**BASE), nonce="n")) == ["init.sh", "phases.sh"]
    clone = Clone("https://h/o/r", "r", username="u", password=Secret("p"))
    assert sorted(render(RunScript(**BASE, clone=clone), nonce="n")) == ["askpass.sh", "init.sh", "phases.sh"]


@given(run_line=TEXT, args=TEXT, name=TEXT, banner=TEXT)
def test_any_text_gives_valid_bash(run_line, args, name, banner):
    """Defect 26: given hostile names and arguments / when rendered / then they are data of the script."""
    script = RunScript(
        **{**BASE, "run_line": run_line},
        pre_steps=(Step(name, "scripts/m/x.sh", args),),
        post_steps=(Step(name, "scripts/m/a'b.sh", args, may_fail=True),),
        data_steps=(DataMount(name, "custom", "/home dir", script="a b.sh", args=args),),
        banner=(banner,),
        smi_commands=(args,),
    )
    files = render(script, nonce="n")
    for content in files.values():
        subprocess.run(["bash", "-n"], input=content.encode(), check=True, capture_output=True)
    assert variable(files["phases.sh"], "_mad_run_line") == run_line
    assert variable(files["phases.sh"], "_mad_banner") == banner


def test_a_nul_character_is_refused():
    with pytest.raises(PlanError, match="NUL"):
        render(RunScript(**{**BASE, "run_line": "a\0b"}), nonce="n")


def test_no_secret_is_written():
    """Section 14.2, never in generated scripts."""
    clone = Clone("https://h/o/r", "r", username=Secret("user-1234"), password=Secret("pass-1234"))
    files = render(RunScript(**BASE, clone=clone), nonce="n")
    assert not [text for text in files.values() if "user-1234" in text or "pass-1234" in text]
    assert clone_environment(clone) == {
        "MAD_CLONE_USERNAME": Secret("user-1234"),
        "MAD_CLONE_PASSWORD": Secret("pass-1234"),
    }
    assert clone_environment(None) == {}
    assert clone_environment(Clone("https://h/o/r", "r")) == {}


@pytest.mark.parametrize(
    ("clone", "attempts"),
    [
        (Clone("https://h/o/r", "r"), "anonymous"),
        (Clone("https://h/o/r", "r", username="u", password=Secret("p")), "credential"),
        (Clone("https://h/r", "r", password=Secret("p"), anonymous_first=True), "anonymous credential"),
        (Clone("https://h/r", "r", anonymous_first=True), "anonymous"),
    ],
)
def test_attempts_of_a_clone(clone, attempts):
    """Section 10.6."""
    files = render(RunScript(**BASE, clone=clone), nonce="n")
    assert variable(files["phases.sh"], "_mad_attempts") == attempts
    assert variable(files["phases.sh"], "_mad_clone_host") == "h"


def test_ssh_checks_host_keys():
    """Defect 33: given an ssh clone / when rendered / then host keys are checked, only that key is used."""
    clone = Clone("ssh://u@h:22/o/r", "r", ssh_user="me you", ssh_key_file="/k", known_hosts="/kh")
    text = variable(render(RunScript(**BASE, clone=clone), nonce="n")["phases.sh"], "_mad_ssh")
    assert text == (
        "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -l 'me you' "
        "-i /myworkspace/.madengine/ssh/key -o IdentitiesOnly=yes "
        "-o UserKnownHostsFile=/myworkspace/.madengine/ssh/known_hosts"
    )


def test_another_control_directory():
    clone = Clone("ssh://h/r", "r", ssh_key_file="/k")
    files = render(RunScript(**BASE, clone=clone), nonce="n", control_dir="/w/.c")
    assert all(variable(files[name], "_mad_control") == "/w/.c" for name in ("phases.sh",))
    assert "/w/.c/ssh/key" in files["phases.sh"]


@pytest.mark.parametrize(
    ("step", "label"),
    [
        (Step("trace.sh", "a/trace.sh"), "pre-script trace.sh"),
        (Step("pre-script trace.sh", "a/trace.sh"), "pre-script trace.sh"),
        (Step("", "a/trace.sh"), "pre-script trace.sh"),
        (Step("two\nlines", "a/x.sh"), "pre-script two lines"),
    ],
)
def test_labels(step, label):
    assert step_label(step, "pre-script") == label


def test_markers():
    assert marker("abc") == "\x01mad:abc:"


def test_keep_alive():
    assert "_mad_keep=1" in render(RunScript(**BASE, keep_alive=True), nonce="n")["init.sh"]
