"""The tasks of the generated playbook, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Reads variables from its standard input, then becomes the command: no secret is in a file or an argument.
_WITH_SECRETS: Final = 'set -a; . /dev/stdin; set +a; exec "$@" </dev/null'
_WORK: Final = "{{ mad_work.path }}"
_OUT: Final = f"{_WORK}/out"


def tasks(files: Sequence[str], context: bool) -> list[dict[str, Any]]:
    """All tasks of the play.

    :param files: entries of the MAD root that hosts need.
    :param context: there is an additional context.
    """
    return [
        _read_environment(),
        {
            "name": "Run the models and bring their results here",
            "block": [
                _forget(),
                *_checks(),
                *_working_directory(),
                *_repository(files),
                *_inputs(context),
                *_images(),
                _run(context),
            ],
            "always": [*_results(), _audit(), *_clean()],
        },
        _verdict(),
    ]


def _task(name: str, module: str, arguments: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"name": name, f"ansible.builtin.{module}": dict(arguments), **keywords}


def _read_environment() -> dict[str, Any]:
    found = (
        "{{ query('ansible.builtin.first_found', "
        "{'files': ['madengine_' ~ mad_environment ~ '.yml'], 'paths': [playbook_dir], 'skip': true}) }}"
    )
    return _task(
        "Read the variables of this environment, where there are some",
        "include_vars",
        {"file": "{{ item }}"},
        loop=found,
        no_log=True,
    )


def _forget() -> dict[str, Any]:
    """What an earlier play left must not be read as a result of this one."""
    return _task(
        "Remove the tables of an earlier play",
        "file",
        {"path": "{{ mad_results }}/{{ item }}", "state": "absent"},
        delegate_to="localhost",
        loop=["perf.csv", "summary.json"],
    )


def _checks() -> list[dict[str, Any]]:
    missing = "{{ mad_variables | difference((madengine_secrets | default({})).keys() | list) }}"
    lacking = "{{ mad_credentials | difference((madengine_credentials | default({})).keys() | list) }}"
    return [
        _task(
            "Check that the secrets of the models are given",
            "assert",
            {
                "that": ["mad_missing | length == 0", "mad_lacking | length == 0"],
                "fail_msg": (
                    "madengine_secrets lacks {{ mad_missing }}, "
                    "madengine_credentials lacks {{ mad_lacking }}; give them as vault variables"
                ),
                "quiet": True,
            },
            vars={"mad_missing": missing, "mad_lacking": lacking},
        ),
        _task(
            "Check that madengine-cli is there",
            "command",
            {"argv": ["{{ mad_command }}", "--version"]},
            changed_when=False,
        ),
    ]


def _working_directory() -> list[dict[str, Any]]:
    return [
        _task(
            "Make a private working directory",
            "tempfile",
            {"state": "directory", "prefix": "madengine-", "path": "{{ work_path | default('/var/tmp') }}"},
            register="mad_work",
        ),
        _task(
            "Make directories in it",
            "file",
            {"path": _WORK + "/{{ item }}", "state": "directory", "mode": "0700"},
            loop=["out", "root"],
        ),
    ]


def _repository(files: Sequence[str]) -> list[dict[str, Any]]:
    """The files of the MAD repository as one archive: hundreds of files take one task, not hundreds."""
    wanted = {"when": "madengine_path is not defined"}
    archive = "{{ mad_archive.path }}"
    here = {"delegate_to": "localhost", "run_once": True, **wanted}
    argv = ["tar", "--create", "--gzip", "--file", archive, "--directory", "{{ mad_root }}", "--exclude"]
    return [
        _task(
            "Make room for the files of the MAD repository",
            "tempfile",
            {"state": "file", "prefix": "madengine-", "suffix": ".tar.gz"},
            register="mad_archive",
            **here,
        ),
        _task(
            "Pack the files of the MAD repository",
            "command",
            {"argv": [*argv, "__pycache__", "--", *files]},
            changed_when=True,
            **here,
        ),
        _task(
            "Unpack them on the hosts",
            "unarchive",
            {"src": archive, "dest": f"{_WORK}/root"},
            **wanted,
        ),
    ]


def _inputs(context: bool) -> list[dict[str, Any]]:
    private = {"mode": "0600"}
    found = [
        _task(
            "Copy the manifest",
            "copy",
            {"src": "{{ mad_manifest }}", "dest": f"{_WORK}/build_manifest.json", **private},
        ),
        _task(
            "Write the credentials of the models",
            "copy",
            {
                "content": "{{ madengine_credentials | to_json }}",
                "dest": f"{_WORK}/credential.json",
                **private,
            },
            when="madengine_credentials is defined",
            no_log=True,
        ),
    ]
    if context:
        arguments = {"content": "{{ mad_context }}", "dest": f"{_WORK}/context.json", **private}
        found.append(_task("Write the additional context", "copy", arguments))
    return found


def _images() -> list[dict[str, Any]]:
    # Docker Hub has no name on the command line.
    login = (
        "{{ ['docker', 'login', '--username', registry_username, '--password-stdin']"
        " + ([mad_login_server] if mad_login_server else []) }}"
    )
    reference = (
        "{{ [registry_url, item.name] | join('/') if registry_url is defined"
        " else [item.registry, item.path] | select | join('/') }}@{{ item.digest }}"
    )
    return [
        _task(
            "Log in to the registry",
            "command",
            {"argv": login, "stdin": "{{ registry_password }}"},
            environment="{{ mad_docker }}",
            when="registry_password is defined",
            changed_when=True,
            no_log=True,
        ),
        _task(
            "Pull the images by their digests",
            "command",
            {"argv": ["docker", "pull", reference]},
            environment="{{ mad_docker }}",
            loop="{{ mad_images }}",
            loop_control={"label": "{{ item.path }}"},
            register="mad_pull",
            changed_when="'Downloaded newer image' in mad_pull.stdout",
        ),
    ]


def _run(context: bool) -> dict[str, Any]:
    words = [
        *("bash", "-c", _WITH_SECRETS, "madengine", "{{ mad_command }}", "run"),
        *("--manifest-file", f"{_WORK}/build_manifest.json", "--require-pinned"),
        *("--output", f"{_OUT}/perf.csv", "--results-dir", f"{_OUT}/mad-results"),
        *("--summary-output", f"{_OUT}/summary.json"),
    ]
    if context:
        words += ["--additional-context-file", f"{_WORK}/context.json"]
    lines = (
        "{% for name in mad_variables %}{{ name }}={{ madengine_secrets[name] | string | quote }}\n"
        "{% endfor %}"
    )
    return _task(
        "Run the models",
        "command",
        {"argv": "{{ mad_words + mad_options }}", "chdir": "{{ mad_place }}", "stdin": lines},
        environment="{{ mad_docker | combine({'MODEL_DIR': mad_place}) }}",
        vars={
            "mad_words": words,
            "mad_options": (
                "{{ (mad_registry_words if registry_url is defined else [])"
                " + (mad_credential_words if madengine_credentials is defined else []) }}"
            ),
            "mad_registry_words": ["--registry", "{{ registry_url }}"],
            "mad_credential_words": ["--credentials", f"{_WORK}/credential.json"],
            "mad_place": "{{ madengine_path | default(mad_work.path ~ '/root') }}",
        },
        register="mad_run",
        changed_when=True,
        failed_when=False,  # results come first, the verdict last
        no_log=True,  # its standard input; what the models print is in the logs
    ) | {"async": "{{ run_limit | default(604800) }}", "poll": "{{ poll_interval | default(10) }}"}


def _results() -> list[dict[str, Any]]:
    ran = {"when": "mad_run is defined"}
    here = {"delegate_to": "localhost", **ran}
    local = "{{ mad_results }}/results.tar.gz"
    return [
        _task(
            "Pack the results",
            "command",
            {
                "argv": [
                    "tar",
                    "--create",
                    "--gzip",
                    "--file",
                    f"{_WORK}/results.tar.gz",
                    "--directory",
                    _OUT,
                    ".",
                ]
            },
            changed_when=True,
            **ran,
        ),
        _task(
            "Make a directory for the results of this host",
            "file",
            {"path": "{{ mad_results }}", "state": "directory", "mode": "0755"},
            **here,
        ),
        _task(
            "Fetch the results",
            "fetch",
            {"src": f"{_WORK}/results.tar.gz", "dest": local, "flat": True},
            **ran,
        ),
        _task(
            "Unpack the results",
            "unarchive",
            {"src": local, "dest": "{{ mad_results }}", "remote_src": True},
            **here,
        ),
        _task("Remove the packed results", "file", {"path": local, "state": "absent"}, **here),
    ]


def _audit() -> dict[str, Any]:
    return _task(
        "Note the run in the compliance log",
        "lineinfile",
        {
            "path": "{{ compliance_log | default(playbook_dir ~ '/madengine_compliance.jsonl') }}",
            "line": "{{ mad_entry | to_json }}",
            "create": True,
            "mode": "0640",
        },
        vars={
            "mad_entry": {
                "time": "{{ now(utc=true).strftime('%Y-%m-%dT%H:%M:%SZ') }}",
                "environment": "{{ mad_environment }}",
                "host": "{{ inventory_hostname }}",
                "manifest_sha256": (
                    "{{ lookup('ansible.builtin.file', mad_manifest, rstrip=false) | hash('sha256') }}"
                ),
                "images": "{{ mad_images }}",
                "exit_status": "{{ mad_run.rc | default('not run') }}",
            }
        },
        delegate_to="localhost",
        throttle=1,
        when="audit_mode | default(false) | bool",
    )


def _clean() -> list[dict[str, Any]]:
    return [
        _task(
            "Remove the working directory",
            "file",
            {"path": _WORK, "state": "absent"},
            when="mad_work.path is defined",
        ),
        _task(
            "Remove the packed files of the MAD repository",
            "file",
            {"path": "{{ mad_archive.path }}", "state": "absent"},
            delegate_to="localhost",
            run_once=True,
            when="mad_archive.path is defined",
        ),
    ]


def _verdict() -> dict[str, Any]:
    return _task(
        "Fail when a model failed",
        "fail",
        {
            "msg": (
                "madengine-cli run ended with exit status {{ mad_run.rc | default('unknown') }}.\n"
                "Results: {{ mad_results }}\n"
                "{{ (mad_run.stdout_lines | default([]) + mad_run.stderr_lines | default([]))[-12:]"
                " | join('\\n') }}"
            )
        },
        when=["not ansible_check_mode", "mad_run.rc | default(1) != 0"],
    )
