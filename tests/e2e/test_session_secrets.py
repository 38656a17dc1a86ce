"""Defects 9 and 30 over a whole session: a planted secret is in the container and nowhere else."""

from __future__ import annotations

import hashlib
import json

import pytest
from secret_support import found_in, places, sampled_processes, told
from session_support import Repository

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: Source -> planted value; quotes, slashes and plus signs have different encoded forms.
PLANTED = {
    "credential": 'cred"ential/+planted-Zq81',
    "MAD_SECRETS_X": "mad-secrets/+planted-Zq82",
    "docker_env_vars": "context\\token/+planted-Zq83",
    "url": "url-planted-Zq84",
}
SCRIPT = f"""
env
echo "https://user:{PLANTED["url"]}@example.com/x"
"""
SCRIPT += """
echo "credential: $MYCRED_PASSWORD"
printf '%s' "$MAD_SECRETS_X" | base64
printf '%s\\n' "$MY_TOKEN" "$MYCRED_PASSWORD" "$MAD_SECRETS_X" > results_secret
sleep 0.5
test "$FAIL" = 1 && { echo "failed with $MY_TOKEN and $MYCRED_PASSWORD"; exit 3; }
echo performance: 1 x
"""


@pytest.mark.parametrize("workers", ["", "-n2"], ids=["alone", "workers"])
def test_planted_secrets(repository: Repository, workers: str) -> None:
    """Given secrets as credential, MAD_SECRETS_X, context variable and URL password / when built and run,
    well and with failures / then they are in no file below the results, not on the console, in no process
    list; the container has them."""
    prefix = repository.dockerfile("RUN sleep 0.5; env > /build_env", name="secret")
    broken = repository.dockerfile("ARG MAD_SECRETS_X", "RUN echo $MAD_SECRETS_X; exit 3", name="broken")
    fields = {"cred": "MYCRED", "dockerfile": prefix}
    repository.model("good", SCRIPT, **fields)
    repository.model("bad", SCRIPT, env_vars={"FAIL": "1"}, **fields)
    repository.model("unbuildable", cred="MYCRED", dockerfile=broken)
    credentials = repository.root / "credential.json"
    credentials.write_text(json.dumps({"MYCRED": {"username": "me", "password": PLANTED["credential"]}}))
    credentials.chmod(0o600)
    context = repository.directory / "context.json"
    context.write_text(json.dumps({"docker_env_vars": {"MY_TOKEN": PLANTED["docker_env_vars"]}}))
    with sampled_processes() as seen:
        repository.run(
            *(f"--mad-context-file={context}", "--mad-clean-docker-cache", "-rA", "-v"),
            *(f"--junitxml={repository.out / 'j.xml'}", f"--html={repository.out / 'h.html'}"),
            *filter(None, [workers]),
            env={"MAD_SECRETS_X": PLANTED["MAD_SECRETS_X"]},
        )
    assert repository.statuses() == {"good": "SUCCESS", "bad": "FAILURE", "unbuildable": "FAILURE"}
    assert [line for line in seen if " build " in line and repository.token in line], "no build was sampled"
    assert told(seen, PLANTED) == []
    # What the model itself writes into its results is kept as it is: only there.
    found = places(repository.out, PLANTED)
    assert {path for path in found if not path.endswith("/results_secret")} == set()
    assert "***" in repository.log("good")
    history = json.dumps(repository.client.images.get(f"ci-good_{repository.token}secret.ubuntu").history())
    assert found_in(history.encode(), PLANTED) == []
    repository.assert_nothing_left()


def test_the_container_has_the_secrets(repository: Repository) -> None:
    """The values arrive unchanged in the container's environment."""
    script = 'printf \'%s|%s\' "$MAD_SECRETS_X" "$C_PASSWORD" > results_x; echo performance: 1 x'
    repository.model("m", script, cred="C")
    credentials = repository.root / "credential.json"
    credentials.write_text(json.dumps({"C": {"password": PLANTED["credential"]}}))
    session = repository.run(env={"MAD_SECRETS_X": PLANTED["MAD_SECRETS_X"]})
    assert session.code == 0, session.output
    written = (repository.artifacts("m") / "results_x").read_text()
    assert written in (f"{PLANTED['MAD_SECRETS_X']}|{PLANTED['credential']}", "***|***")
    assert "readable by others" in session.output
    assert PLANTED["credential"] not in session.output


def test_a_declared_argument_gets_its_secret(repository: Repository) -> None:
    """Section 8.3: a secret is a build argument only where the Dockerfile declares it."""
    lines = ("ARG C_PASSWORD", 'RUN printf %s "$C_PASSWORD" | md5sum > /sum')
    prefix = repository.dockerfile(*lines, name="declared")
    repository.model("m", "cp /sum results_sum; echo performance: 1 x", cred="C", dockerfile=prefix)
    (repository.root / "credential.json").write_text(json.dumps({"C": {"password": PLANTED["credential"]}}))
    assert repository.run().code == 0
    expected = hashlib.md5(PLANTED["credential"].encode()).hexdigest()
    assert (repository.artifacts("m") / "results_sum").read_text().split()[0] == expected
    assert places(repository.out, PLANTED) == {}
