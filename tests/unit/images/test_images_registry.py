"""Registry tags and credentials: the tables and texts of contract 9.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError, CredentialError
from pytest_madengine.images.naming import is_reference
from pytest_madengine.images.registry import (
    check_registry,
    credential_key,
    find_credential,
    invalid_credential,
    login_server,
    missing_credential,
    registry_tag,
    tag_of,
)
from pytest_madengine.secrets import Secret

IMAGE = "ci-dummy_dummy.ubuntu.amd"


@pytest.mark.parametrize(
    ("registry", "credentials", "tag"),
    [
        ("", {}, ""),
        ("docker.io", {"dockerhub": {"repository": "org/repo"}}, f"org/repo:{IMAGE}"),
        ("dockerhub", {"dockerhub": {"repository": "org/repo"}}, f"org/repo:{IMAGE}"),
        ("DockerHub", {"dockerhub": {"repository": "org/repo"}}, f"org/repo:{IMAGE}"),
        ("Docker.IO", {"DockerHub": {"repository": "org/repo"}}, f"org/repo:{IMAGE}"),
        ("docker.io", {"dockerhub": {"username": "u"}}, f"u/{IMAGE}"),
        ("DockerHub", {"dockerhub": {"username": "u"}}, f"u/{IMAGE}"),
        ("docker.io", {}, IMAGE),
        ("localhost:5000", {"localhost:5000": {"repository": "team/x"}}, f"localhost:5000/team/x:{IMAGE}"),
        ("localhost:5000", {"localhost:5000": {"username": "u"}}, f"localhost:5000/{IMAGE}"),
        ("localhost:5000", {}, f"localhost:5000/{IMAGE}"),
        ("localhost:5000/", {}, f"localhost:5000/{IMAGE}"),
        ("gcr.io/ml-bench", {}, f"gcr.io/ml-bench/{IMAGE}"),
        ("docker.io/team", {"dockerhub": {"username": "u"}}, f"team/{IMAGE}"),
    ],
)
def test_tags(registry: str, credentials: dict[str, object], tag: str) -> None:
    """Contract 9.1, table of tags."""
    assert registry_tag(registry, IMAGE, find_credential(registry, credentials, {})) == tag


def test_a_batch_entry_names_its_reference_itself() -> None:
    """Contract 9.1, last row of the table."""
    assert registry_tag("gcr.io/x", IMAGE, None, "quay.io/a/b:1") == "quay.io/a/b:1"


@pytest.mark.parametrize("name", ["DockerHub", "dockerhub", "docker.io", "DOCKER.IO"])
def test_defect_62_spellings_of_docker_hub(name: str) -> None:
    """Defect 62: given any spelling of Docker Hub / when the credential is looked up / then it is found."""
    found = find_credential(name, {"dockerhub": {"username": "u", "password": Secret("pass")}}, {})
    assert found is not None
    assert found.usable
    assert credential_key(name) == "dockerhub"
    assert login_server(name) == ""


@pytest.mark.parametrize("repository", [None, "", "  "])
def test_defect_62_null_repository(repository: object) -> None:
    """Defect 62: given a null repository / when a tag is made / then there is no ``None:`` in it."""
    credentials = {"dockerhub": {"username": "u", "repository": repository}}
    assert registry_tag("docker.io", IMAGE, find_credential("docker.io", credentials, {})) == f"u/{IMAGE}"


def test_the_full_path_of_a_registry_comes_before_its_host() -> None:
    """Contract 9.1: ``gcr.io/ml-bench``, else ``gcr.io``."""
    both = {"gcr.io": {"username": "host"}, "gcr.io/ml-bench": {"username": "path"}}
    assert find_credential("gcr.io/ml-bench", both, {}).username == "path"  # type: ignore[union-attr]
    del both["gcr.io/ml-bench"]
    found = find_credential("gcr.io/ml-bench", both, {})
    assert found is not None
    assert (found.username, found.key) == ("host", "gcr.io")
    assert login_server("gcr.io/ml-bench") == "gcr.io"
    assert find_credential("quay.io", both, {}) is None
    assert find_credential("", both, {}) is None


def test_variables_of_docker_hub_replace_the_entry() -> None:
    """Contract 9.1: ``MAD_DOCKERHUB_*``."""
    entry = {"dockerhub": {"username": "u", "password": Secret("old"), "repository": "org/old"}}
    environ = {"MAD_DOCKERHUB_USER": "ci", "MAD_DOCKERHUB_PASSWORD": "new"}
    found = find_credential("docker.io", entry, environ)
    assert found is not None
    assert (found.username, found.password, found.repository) == ("ci", Secret("new"), "org/old")
    found = find_credential("docker.io", entry, {"MAD_DOCKERHUB_REPO": "org/new"})
    assert found is not None
    assert (found.username, found.repository) == ("u", "org/new")
    found = find_credential("docker.io", {}, {"MAD_DOCKERHUB_REPO": "org/new"})
    assert found is not None
    assert found.anonymous
    assert find_credential("docker.io", {}, {"MAD_DOCKERHUB_USER": "ci"}) is None
    assert find_credential("quay.io", {}, environ) is None


def test_defect_29_a_password_is_never_shown() -> None:
    """Defect 29: given a registry password / when the credential is printed / then it is not in the text."""
    found = find_credential("quay.io", {"quay.io": {"username": "u", "password": "hunter2!"}}, {})
    assert "hunter2" not in repr(found)


def test_missing_credentials_text() -> None:
    """Contract 9.1, text of missing credentials."""
    assert missing_credential("DockerHub").message == (
        "No credentials found for registry: dockerhub\n"
        "Please add dockerhub credentials to credential.json:\n"
        "{\n"
        '  "dockerhub": {\n'
        '    "username": "your-dockerhub-username",\n'
        '    "password": "your-dockerhub-password-or-token"\n'
        "  }\n"
        "}"
    )
    other = missing_credential("localhost:5000").message
    assert '"username": "your-localhost:5000-username"' in other
    assert '"password": "your-localhost:5000-password"\n' in other


@pytest.mark.parametrize(
    "entry", [{"username": "u"}, {"password": "p123"}, {"username": "", "password": "p"}]
)
def test_invalid_credentials_text(entry: dict[str, str]) -> None:
    """Contract 9.1, text of missing fields."""
    found = find_credential("quay.io", {"quay.io": entry}, {})
    assert found is not None
    with pytest.raises(CredentialError) as caught:
        found.checked()
    assert (
        caught.value.message
        == invalid_credential("quay.io").message
        == (
            "Invalid credentials format for registry: quay.io\n"
            "Credentials must contain 'username' and 'password' fields"
        )
    )


@pytest.mark.parametrize(
    "registry", ["https://gcr.io", "team", "gcr.io/Upper", "local host:1", "a.b:port", "-x.io", "x.io;id"]
)
def test_what_is_no_registry(registry: str) -> None:
    """Contract 9.1: every reference is checked against docker's grammar before use."""
    with pytest.raises(ConfigError, match="is not a registry"):
        check_registry(registry)


@pytest.mark.parametrize(
    "registry", ["", "localhost:5000", "docker.io", "DockerHub", "gcr.io/ml-bench/", "[::1]:5000"]
)
def test_what_is_a_registry(registry: str) -> None:
    assert check_registry(registry) == registry.rstrip("/")


@pytest.mark.parametrize("repository", ["Org/repo", "org repo", "a:b:c"])
def test_impossible_references(repository: str) -> None:
    credential = find_credential("docker.io", {"dockerhub": {"repository": repository}}, {})
    with pytest.raises(ConfigError, match="not a valid image reference"):
        registry_tag("docker.io", IMAGE, credential)


def test_long_image_names_still_make_a_tag() -> None:
    names = [f"ci-{'x' * 140}{end}" for end in "ab"]
    tags = {tag_of(name) for name in names}
    assert len(tags) == 2
    assert all(is_reference(f"org/repo:{tag}") for tag in tags)


@given(registry=st.text(max_size=40), repository=st.text(max_size=20), user=st.text(max_size=20))
def test_a_tag_is_valid_or_an_error(registry: str, repository: str, user: str) -> None:
    """Whatever users write, no reference that docker rejects comes out."""
    key = "dockerhub" if credential_key(registry) == "dockerhub" else registry.strip().rstrip("/")
    credential = find_credential(registry, {key: {"repository": repository, "username": user}}, {})
    try:
        tag = registry_tag(check_registry(registry), IMAGE, credential)
    except ConfigError:
        return
    assert tag == "" or is_reference(tag)
