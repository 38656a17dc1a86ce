"""What looks like a secret, and what does not.  Samples are put together so that no file holds one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.lint.leaks import find_arguments, find_assignments, find_leaks, is_secret_value, masked

LETTERS = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fD3hJ6"
SAMPLES = {
    "a GitHub token": "ghp" + "_" + LETTERS,
    "a GitLab token": "glpat" + "-" + LETTERS[:20],
    "an AWS access key": "AK" + "IA" + "ABCDEFGHIJKLMNOP",
    "a Slack token": "xoxb" + "-123-" + LETTERS[:20],
    "a Hugging Face token": "hf" + "_" + LETTERS[:34],
    "an API key": "sk" + "-" + LETTERS,
    "a Docker Hub token": "dckr" + "_pat_" + LETTERS[:27],
    "a PyPI token": "pypi" + "-AgE" + LETTERS,
    "an npm token": "npm" + "_" + LETTERS,
    "a Google API key": "AI" + "za" + LETTERS[:35],
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a web token": "ey" + "J" + LETTERS[:20] + ".ey" + "J" + LETTERS[:20] + "." + LETTERS[:20],
    "a password in a URL": "https://me:hunter22" + "@host/x.git",
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_forms(kind: str) -> None:
    text = f"a line\nx = {SAMPLES[kind]} # end\n"
    (leak,) = find_leaks(text)
    assert (leak.what, leak.certain) == (kind, True)
    assert text.startswith(("://", SAMPLES[kind]), leak.offset)


@pytest.mark.parametrize("kind", SAMPLES)
def test_messages_hide_them(kind: str) -> None:
    sample = SAMPLES[kind]
    secret = "hunter22" if "URL" in kind else sample
    assert secret not in masked(f"not the text '{sample}'")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com:8080/x@y",
        "https://user:${TOKEN}@host/",
        "https://user:<token>@host/",
        "git@github.com:org/repo.git",
        "scikit-learn task-force-of-all-kinds-12345678 AKIA_SHORT hf_hub_download ghp_short",
        "risk-adjusted-return-on-capital-2024",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_harmless_text(text: str) -> None:
    assert list(find_leaks(text)) == []


@pytest.mark.parametrize(
    "line",
    [
        "export HF_TOKEN=abcdefgh12",
        'API_KEY="s3cr3t-value"',
        "ENV MY_PASSWORD hunter22",
        "ARG GIT_TOKEN='abcdef123'",
        "  password = 'hunter22'",
    ],
)
def test_assignments(line: str) -> None:
    (leak,) = find_assignments(f"# first\n{line}\n")
    assert not leak.certain
    assert "hunter" not in leak.what
    assert "abcdef" not in leak.what


@pytest.mark.parametrize(
    "line",
    [
        "export HF_TOKEN=$TOKEN",
        "export HF_TOKEN=${1:-none}",
        "MAX_TOKENS=1024000",
        "TOKENIZERS_PARALLELISM=disabled",
        "TOKENIZER=meta-llama/Llama-2-7b",
        "NUM_INPUT_TOKENS=abcdefgh",
        "PASSWORD_FILE=secrets.txt",
        "TOKEN_PATH=somewhere",
        "API_KEY=<your-key>",
        "API_KEY=your-key-here",
        "API_KEY=/run/secrets/key",
        "TOKEN=changeme",
        "token = os.environ['TOKEN']",
        "ARG HF_TOKEN",
        "ARG HF_TOKEN=",
        "SECRET=true",
        "secret sauce is good",
        "password = getpass()",
    ],
)
def test_no_assignments(line: str) -> None:
    assert list(find_assignments(f"{line}\n")) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("--hf-token abcdefgh12 --steps 3", 1),
        ("--api-key=abcdefgh12", 1),
        ("--hf-token $HF_TOKEN", 0),
        ("--max-tokens 2048000", 0),
        ("--tokenizer meta-llama/Llama", 0),
        ("--password --next", 0),
        ("", 0),
    ],
)
def test_arguments(text: str, count: int) -> None:
    assert len(list(find_arguments(text))) == count


def test_only_texts_are_literals_in_python() -> None:
    text = "secret = config.secret_value\npassword = 'hunter22'\n"
    assert len(list(find_assignments(text))) == 2
    assert len(list(find_assignments(text, python=True))) == 1


def test_values_of_other_types_are_no_secrets() -> None:
    assert not is_secret_value("TOKEN", 123456789)
    assert not is_secret_value("TOKEN", "two words here")


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """No text breaks the search, and masking twice is masking once."""
    for search in (find_leaks, find_assignments, find_arguments):
        assert all(0 <= leak.offset <= len(text) for leak in search(text))
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    "piece", ["eyJ", "sk-", "xoxb-1", "://a:", "--token=", "hf_", "TOKEN=", " ", "-----BEGIN "]
)
def test_hostile_text_takes_no_time(piece: str) -> None:
    """A megabyte of beginnings: quadratic searches would run into the time limit of the whole suite."""
    text = piece * (1_000_000 // len(piece))
    assert list(find_leaks(text)) == []
    assert masked(text).startswith(piece[:1])
    list(find_assignments(text))
    list(find_arguments(text))
