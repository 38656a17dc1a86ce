"""Repositories that models are cloned from, contract 10.6."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_samples import model
from pytest_madengine.errors import ConfigError, CredentialError, PlanError
from pytest_madengine.plan.clone import build_clone, model_directory, parse_url
from pytest_madengine.plan.runplan import Clone
from pytest_madengine.secrets import Secret


def _clone(url: str, cred: str = "", credentials: Any = None, **environ: str) -> Clone | None:
    entry = model(url=url, cred=cred, owner="o@x")
    return build_clone(entry, credentials or {}, root="/srv/mad", environ={"HOME": "/h", **environ})


@pytest.mark.parametrize(
    "url",
    [
        "https://h/o/r",
        "https://h/o/r/",
        "https://h/o/r.git",
        "https://h/o/r.git/",
        "ssh://u@h/o/r.git",
        "git@h:o/r.git",
    ],
)
def test_contract_10_6_directory(url: str) -> None:
    """Contract 10.6; defect 60: a .git suffix is not part of the directory."""
    assert model_directory(model(url=url)) == "r"
    assert parse_url(url).url == url


def test_contract_10_6_no_url() -> None:
    """Contract 10.6, last row."""
    assert model_directory(model()) == "run_directory"
    assert _clone("") is None


def test_contract_10_6_anonymous() -> None:
    """Contract 10.6, first row."""
    assert _clone("https://h/o/r/") == Clone("https://h/o/r/", "r")


def test_contract_10_6_https_credential() -> None:
    """Contract 10.6, second row."""
    found = _clone("https://h/o/r.git", "C", {"C": {"username": "u", "password": Secret("pass-word")}})
    assert found == Clone("https://h/o/r.git", "r", "u", Secret("pass-word"))


@pytest.mark.parametrize("field", ["token", "password"])
def test_contract_10_6_public_key(field: str) -> None:
    """Contract 10.6, third row: environment before file, only for github.com."""
    text = f'{{"username": "u", "{field}": "t-o-k-e-n"}}'
    expected = Clone("https://github.com/o/r", "r", "u", Secret("t-o-k-e-n"), anonymous_first=True)
    assert _clone("https://github.com/o/r", PUBLIC_GITHUB_ROCM_KEY=text) == expected
    from_file = {"PUBLIC_GITHUB_ROCM_KEY": {"username": "u", field: "t-o-k-e-n"}}
    assert _clone("https://github.com/o/r", "", from_file) == expected
    assert _clone("https://h/o/r", "", from_file) == Clone("https://h/o/r", "r")


@pytest.mark.parametrize("text", ["{secret-value", "[1]"])
def test_public_key_that_is_no_object(text: str) -> None:
    with pytest.raises(ConfigError, match="PUBLIC_GITHUB_ROCM_KEY") as caught:
        _clone("https://github.com/o/r", PUBLIC_GITHUB_ROCM_KEY=text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ssh://git@h/o/r.git", "git@h:o/r.git"])
@pytest.mark.parametrize(
    ("key", "path"),
    [("keys/id", "/srv/mad/keys/id"), ("~/.ssh/id", "/h/.ssh/id"), ("/etc/id", "/etc/id")],
)
def test_contract_10_6_ssh(url: str, key: str, path: str) -> None:
    """Contract 10.6, fourth row; the key is a host path."""
    found = _clone(url, "C", {"C": {"username": "me", "ssh_key_file": key}})
    assert found == Clone(url, "r", ssh_user="me", ssh_key_file=path, known_hosts="/h/.ssh/known_hosts")


def test_ssh_without_credential_uses_the_user_of_the_url() -> None:
    found = _clone("git@h:o/r.git")
    assert found is not None
    assert (found.ssh_user, found.ssh_key_file) == ("git", "")


def test_contract_10_6_missing_credential() -> None:
    """Contract 10.6: the exact text."""
    with pytest.raises(CredentialError) as caught:
        _clone("https://h/o/r", "C")
    assert caught.value.message == (
        "Credentials(C) to run model not found in credential.json; Please contact the model owner, o@x."
    )


@pytest.mark.parametrize(
    ("url", "credential"),
    [
        ("https://h/o/r", {"username": "u"}),
        ("git@h:o/r", {"username": "u"}),
        ("git@h:o/r", {"ssh_key_file": "k"}),
        ("https://h/o/r", "text"),
    ],
)
def test_incomplete_credentials(url: str, credential: Any) -> None:
    with pytest.raises(CredentialError, match=r"Credentials\(C\)"):
        _clone(url, "C", {"C": credential})


def test_login_inside_the_url_is_taken_out() -> None:
    found = _clone("https://u:p%40ss@h:8080/o/r")
    assert found == Clone("https://h:8080/o/r", "r", "u", Secret("p@ss"))
    assert "p@ss" not in repr(found)


def test_defect_26_hostile_url() -> None:
    """Defect 26: given a url with shell syntax / when planned / then it stays one text."""
    found = parse_url("https://h/o/r'; touch x; $(id) \"")
    assert found.directory == "r'; touch x; $(id) \""


@pytest.mark.parametrize(
    "url",
    [
        "-u",
        "--upload-pack=x:y",
        "ext::sh -c x",
        "/srv/r.git",
        "ftp://h/o/r",
        "https://h",
        "https://h/..",
        "https:///r",
        "git@h:o/.git",
        "https://h/o/r\n",
        "ssh://u:secret@h/r",
        "https://h/o/scripts",
        "https://[x/r",
        "ssh://-oProxy/r",
        "https://h:x/r",
    ],
)
def test_unusable_urls(url: str) -> None:
    with pytest.raises(PlanError, match="cannot be cloned") as caught:
        parse_url(f" {url} " if url.strip() == url else url.strip() + "\a")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"(https|ssh|git)://[a-z@:./-]*", fullmatch=True))
def test_any_url_is_one_directory_or_an_error(text: str) -> None:
    with contextlib.suppress(PlanError):
        directory = parse_url(text).directory
        assert directory not in {"", ".", ".."}
        assert "/" not in directory
