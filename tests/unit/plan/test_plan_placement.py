"""Where a run belongs, contract 16.1 and 22.9."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_samples import context, model
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.placement import asked_for, check_model, check_session

IN_JOB = {"MAD_IN_SLURM_JOB": "1"}


@pytest.mark.parametrize(
    ("values", "target"),
    [
        ({}, "local"),
        ({"deploy": "local"}, "local"),
        ({"deploy": ""}, "local"),
        ({"slurm": {}}, "slurm"),
        ({"slurm": {"partition": "x"}, "deploy": "SLURM"}, "slurm"),
        ({"k8s": {}}, "kubernetes"),
        ({"kubernetes": {}, "k8s": {}}, "kubernetes"),
        ({"deploy": "k8s"}, "kubernetes"),
        ({"deploy": "kubernetes", "k8s": {}}, "kubernetes"),
    ],
)
def test_what_a_context_asks_for(values: dict[str, Any], target: str) -> None:
    """faults 1.19: given blocks and deploy, then a target; what is not local is refused."""
    assert asked_for(values) == target
    check_session(context(values), IN_JOB)
    if target == "local":
        check_session(context(values), {})
        return
    with pytest.raises(
        ConfigError, match=f"asks for {target}, and this command runs models on this"
    ) as caught:
        check_session(context(values), {})
    assert "madengine-cli generate" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slurm": {}, "k8s": {}}, "slurm and k8s contradict each other"),
        ({"slurm": {}, "deploy": "local"}, "deploy is 'local', but there is a slurm block"),
        ({"k8s": {}, "deploy": "slurm"}, "deploy is 'slurm', but there is a k8s block"),
        ({"deploy": "slrum"}, "deploy is 'slrum', not one of"),
        ({"deploy": 5}, "deploy is 5, not one of"),
    ],
)
def test_contradictions(values: dict[str, Any], message: str) -> None:
    """Contract 16.1: both blocks, or deploy against a block, are wrong arguments, inside of a job as well."""
    for environ in ({}, IN_JOB):
        with pytest.raises(ConfigError, match=message):
            check_session(context(values), environ)


@given(
    st.dictionaries(
        st.sampled_from(["slurm", "k8s", "kubernetes", "deploy"]), st.none() | st.text() | st.integers()
    )
)
def test_any_values_are_a_target_or_an_error(values: dict[str, Any]) -> None:
    """A value that is there is never taken for nothing."""
    try:
        target = asked_for(values)
    except ConfigError:
        target = ""
    if any(values.get(key) is not None for key in ("slurm", "k8s", "kubernetes")):
        assert target != "local"


@pytest.mark.parametrize("nodes", [2, "2", 99])
def test_several_nodes(nodes: Any) -> None:
    """faults 1.19: given nnodes above 1 in context or entry, then refused outside of a job."""
    given_context = context({"distributed": {"nnodes": nodes}})
    with pytest.raises(ConfigError, match=rf"distributed.nnodes is {nodes}, and this command"):
        check_session(given_context, {})
    check_session(given_context, IN_JOB)
    with pytest.raises(PlanError, match=rf"model dummy: distributed.nnodes is {nodes}, and"):
        check_model(model(distributed={"nnodes": nodes}), context(), {})
    check_model(model(distributed={"nnodes": nodes}), context({"distributed": {"nnodes": 1}}), {})
    check_model(model(distributed={"nnodes": nodes}), context(), IN_JOB)


@pytest.mark.parametrize("nodes", [0, -1, True, "two", "2.0", 1e9, [2]])
def test_numbers_of_nodes_that_are_none(nodes: Any) -> None:
    """A number of nodes that nobody can give is an error, not one node."""
    with pytest.raises(ConfigError, match="not a number of nodes"):
        check_session(context({"distributed": {"nnodes": nodes}}), {})


@pytest.mark.parametrize("environ", [{}, {"MAD_LAUNCHER": "slurm-multi"}])
def test_models_that_start_their_own_containers(environ: dict[str, str]) -> None:
    """faults 1.19: given the launcher slurm_multi, wherever it is named, then the model fails."""
    own = model() if environ else model(distributed={"launcher": "slurm_multi"})
    with pytest.raises(PlanError, match="slurm_multi starts containers on the nodes of a job"):
        check_model(own, context(), environ)
    check_model(own, context(), {**environ, **IN_JOB})
    check_model(own, context({"distributed": {"launcher": "torchrun"}}), environ)
