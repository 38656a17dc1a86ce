"""Variables of the host in env_vars and docker options, contract 22.2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_samples import model, request
from pytest_madengine.errors import PlanError
from pytest_madengine.plan.builder import build_plan
from pytest_madengine.plan.expansion import Expander, escaped, is_reference, names_in
from pytest_madengine.secrets import Secret

HOST = {"HF_HOME": "/data/hf cache", "HF_TOKEN": "s3cret", "EMPTY": "", "ODD": "$HF_HOME `x` $(y)"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$HF_HOME", "/data/hf cache"),
        ("${HF_HOME}/hub:$EMPTY", "/data/hf cache/hub:"),
        ("$$HF_HOME $${HF_HOME}", "$HF_HOME ${HF_HOME}"),
        ("$(pwd) `x` $1 $$ $ ${A:-b} ${} $- \\\\$", "$(pwd) `x` $1 $$ $ ${A:-b} ${} $- \\\\$"),
        ("$ODD", "$HF_HOME `x` $(y)"),
    ],
)
def test_what_is_expanded(text: str, expanded: str) -> None:
    """faults 5.6: given $NAME and ${NAME}, then the host's value, once; everything else stays."""
    assert Expander(HOST).text(text, "x") == expanded
    assert Expander(HOST, here=False).text(text, "x") == text


@given(st.text(alphabet="$${}HF_OM1 -"))
def test_escaped_texts_expand_to_themselves(text: str) -> None:
    """A value that is a text of its own comes through unchanged, whatever is in it."""
    assert Expander({}).text(escaped(text), "x") == text
    assert names_in(escaped(text)) == ()


def test_texts_that_only_say_where_a_value_is() -> None:
    """They are references, not values, and no manifest hides them."""
    assert is_reference("${HF_TOKEN}")
    assert is_reference("$A${B}")
    assert not any(map(is_reference, ("", "x$A", "$$A", "$1")))
    assert names_in("$A ${B} $$C $A") == ("A", "B")


def test_a_plan_has_the_values_of_its_host() -> None:
    """faults 5.6: given variables in entry, context, docker options, then the host's values."""
    own = model(
        env_vars={"CACHE": "${HF_HOME}", "MY": "x-$HF_TOKEN"},
        additional_docker_run_options="-v ${HF_HOME}/hub:/hub -e T=$HF_TOKEN -e 'P=$$HF_HOME'",
    )
    plan = build_plan(request(own, {"env_vars": {"C": "$HF_HOME"}}, environ=HOST))
    env = {name: entry.value for name, entry in plan.env.items()}
    assert (env["CACHE"], env["C"], env["P"]) == ("/data/hf cache", "/data/hf cache", "$HF_HOME")
    for name, value in (("MY", "x-s3cret"), ("T", "s3cret")):
        secret = env[name]
        assert isinstance(secret, Secret)
        assert secret.reveal() == value
    assert "/data/hf cache/hub" in {mount.source for mount in plan.mounts}
    assert not any("expanded" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("fields", "given_context"),
    [
        ({"env_vars": {"A": "$NOT_THERE"}}, {}),
        ({"additional_docker_run_options": "-v ${NOT_THERE}:/x"}, {}),
        ({"additional_docker_run_options": "--cpus $NOT_THERE"}, {}),
        ({}, {"env_vars": {"A": "x${NOT_THERE}"}}),
    ],
)
def test_variables_that_are_not_set(fields: dict[str, Any], given_context: dict[str, Any]) -> None:
    """faults 5.6: given a variable that the host does not have, then an error that names it."""
    with pytest.raises(PlanError, match="needs the environment variable NOT_THERE, which is not set"):
        build_plan(request(model(**fields), given_context, environ=HOST))
    build_plan(request(model(**fields), given_context, environ=HOST, expand=False))
