"""Logins of the providers (contract 13.4, 14.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.data.logins import (
    AWS,
    MINIO,
    NAS,
    NasNode,
    S3Login,
    check_variables,
    nas_nodes,
    s3_login,
)
from pytest_madengine.data.provider import Access, Unusable
from pytest_madengine.errors import ConfigError
from pytest_madengine.secrets import Redactor, Secret


def access(environ: dict[str, Any] | None = None, credentials: dict[str, Any] | None = None) -> Access:
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in (environ or {}).items()
    }
    return Access(Path("/root"), texts, credentials or {})


KEYS = {"USERNAME": "from-environment", "PASSWORD": "planted-environment"}
FILE = {"username": "from-file", "password": Secret("planted-file")}


@pytest.mark.parametrize("variable", [AWS, MINIO])
@pytest.mark.parametrize(
    ("environ", "credentials", "username"),
    [(KEYS, FILE, "from-environment"), (None, FILE, "from-file"), (KEYS, None, "from-environment")],
)
def test_precedence(variable: str, environ: Any, credentials: Any, username: str) -> None:
    """Contract 13.4: environment variable > credential.json > default; fields in any case."""
    found = access({variable: environ} if environ else {}, {variable: credentials} if credentials else {})
    login = s3_login(variable, found)
    assert login is not None
    assert login.username == username
    assert "planted" not in repr(login)
    assert found.redactor.text(login.password.reveal()) == "***"


def test_nothing_is_given() -> None:
    assert s3_login(AWS, access()) is None
    assert nas_nodes(access()) == []
    check_variables({}, Redactor())


def test_secrets_in_the_credential_file_may_be_in_public_fields() -> None:
    """A user's own fixture may type every text as a secret."""
    login = s3_login(MINIO, access({}, {MINIO: {"UserName": Secret("u"), "Password": Secret("p")}}))
    assert login == S3Login("u", Secret("p"))


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({}, ""),
        ({"MINIO_ENDPOINT": "http://a"}, "http://a"),
        ({"AWS_ENDPOINT_URL_S3": "http://b"}, "http://b"),
        ({"minio_endpoint": "http://a", "aws_endpoint_url_s3": "http://b"}, "http://b"),
    ],
)
def test_endpoints(fields: dict[str, str], endpoint: str) -> None:
    """Contract 13.4."""
    login = s3_login(MINIO, access({MINIO: {**KEYS, **fields}}))
    assert login is not None
    assert login.endpoint == endpoint


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            {"NAME": "n", "HOST": "h", "PORT": 2222, "USERNAME": "u", "PASSWORD": "p"},
            NasNode("h", "u", Secret("p"), "n", 2222),
        ),
        (
            {"host": "h", "port": "2222", "username": "u", "password": "p"},
            NasNode("h", "u", Secret("p"), "", 2222),
        ),
        ({"HOST": "h", "USERNAME": "u", "PASSWORD": "p"}, NasNode("h", "u", Secret("p"))),
        ({"HOST": "h", "USERNAME": "u", "PORT": ""}, NasNode("h", "u")),
        ({"HOST": "h", "USERNAME": "u", "SSH_KEY_FILE": "~/k"}, NasNode("h", "u", None, "", 22, "~/k")),
    ],
)
def test_nodes(node: dict[str, Any], expected: NasNode) -> None:
    """Contract 13.4: NAME and PORT may be absent, PORT may be a text or a number."""
    assert nas_nodes(access({NAS: [node]})) == [expected]
    assert nas_nodes(access({}, {NAS: (node,)})) == [expected]


def test_labels() -> None:
    assert NasNode("h", "u").label == "h:22"
    assert NasNode("h", "u", name="shelf", port=1).label == "shelf (h:1)"


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"USERNAME": "u"}, r"environment variable NAS_NODES\[0\] has no HOST"),
        ({"HOST": "h"}, "has no USERNAME"),
        ({"HOST": "h", "USERNAME": "u", "PORT": "ssh"}, "PORT is no port number"),
        ({"HOST": "h", "USERNAME": "u", "PORT": 0}, "PORT is no port number"),
        ({"HOST": "h", "USERNAME": "u", "PORT": 99999}, "PORT is no port number"),
        ({"HOST": ["h"], "USERNAME": "u"}, "HOST must be a text"),
        ("h", r"NAS_NODES\[0\] must be an object"),
    ],
)
def test_wrong_nodes(node: object, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        nas_nodes(access({NAS: [node]}))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"USERNAME": "u"}, "has no PASSWORD"),
        ({"PASSWORD": "p"}, "has no USERNAME"),
        ({"USERNAME": 1}, "a text"),
    ],
)
def test_halves_of_keys(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=rf"{AWS}.* {reason}"):
        s3_login(AWS, access({AWS: fields}))


@pytest.mark.parametrize("variable", [AWS, MINIO, NAS])
@pytest.mark.parametrize(
    "text", ["", "planted-text", '{"PASSWORD": "planted-text}', '"planted-text"', "[" * 99999]
)
def test_invalid_variables(variable: str, text: str) -> None:
    """Contract 13.4: a usage error naming the variable; never its content."""
    with pytest.raises(ConfigError, match=f"environment variable {variable} ") as caught:
        check_variables({variable: text}, Redactor())
    assert "planted" not in f"{caught.value.message}{caught.value.hint}"


def test_a_wrong_entry_of_the_credential_file() -> None:
    with pytest.raises(Unusable, match="MAD_AWS_S3 of the credential file must be an object"):
        s3_login(AWS, access({}, {AWS: Secret("planted")}))
    with pytest.raises(Unusable, match="NAS_NODES of the credential file must be a list"):
        nas_nodes(access({}, {NAS: {"HOST": "h"}}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["HOST", "PORT", "USERNAME", "PASSWORD"]), x),
        max_leaves=8,
    )
)
def test_any_variable_is_read_or_refused(value: Any) -> None:
    for variable, read in ((AWS, lambda found: s3_login(AWS, found)), (NAS, nas_nodes)):
        try:
            read(access({variable: json.dumps(value)}))
        except (ConfigError, Unusable):
            continue
