"""The table of rules.  Numbers and names are stable: configurations and baselines of users hold them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.lint.findings import Rule, Severity

_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE

# ---- files of the repository ------------------------------------------------------------------------------
UNREADABLE: Final = Rule("MAD001", "unreadable-file", _ERROR, "A file cannot be read.")
NO_SCRIPTS: Final = Rule("MAD002", "missing-scripts", _ERROR, "The MAD root has no directory scripts/.")
BOTH_KINDS: Final = Rule(
    "MAD003", "two-model-files", _ERROR, "A directory has both models.json and get_models_json.py."
)
INVALID_JSON: Final = Rule("MAD004", "invalid-json", _ERROR, "A file is no JSON, or not of the right form.")
DUPLICATE_KEY: Final = Rule(
    "MAD005", "duplicate-key", _WARNING, "A JSON object has a key twice; only the last one counts."
)

# ---- entries ----------------------------------------------------------------------------------------------
WRONG_TYPE: Final = Rule("MAD101", "wrong-type", _ERROR, "A field has a value of a wrong type.")
MISSING_FIELD: Final = Rule("MAD102", "missing-field", _ERROR, "A required field is missing or empty.")
UNKNOWN_FIELD: Final = Rule("MAD103", "unknown-field", _WARNING, "A field is unknown and has no effect.")
DUPLICATE_NAME: Final = Rule("MAD104", "duplicate-name", _ERROR, "Two models have the same full name.")
RESERVED_CHARACTER: Final = Rule(
    "MAD105", "reserved-character", _ERROR, "A name or a tag contains a reserved character."
)
LEAVES_ROOT: Final = Rule("MAD106", "path-outside-root", _ERROR, "A path leaves the MAD root.")
INVALID_GPUS: Final = Rule("MAD107", "invalid-gpu-count", _ERROR, "A GPU count is no count.")
INVALID_VARIABLE: Final = Rule(
    "MAD108", "invalid-variable", _ERROR, "A name in env_vars cannot be a variable of the environment."
)
ODD_VARIABLE: Final = Rule(
    "MAD109", "odd-variable", _WARNING, "A shell cannot use a name in env_vars as a variable."
)
INVALID_TIMEOUT: Final = Rule(
    "MAD110", "invalid-timeout", _ERROR, "A timeout is no whole number of seconds from -1."
)
ALIAS_FIELD: Final = Rule("MAD111", "alias-field", _NOTE, "A field is written in an older way.")
CONFLICTING_GPUS: Final = Rule(
    "MAD112", "conflicting-gpu-counts", _WARNING, "Several fields give different GPU counts."
)
UNSELECTABLE_NAME: Final = Rule("MAD113", "unselectable-name", _WARNING, "No selector can name a model.")
UNSELECTABLE_TAG: Final = Rule("MAD114", "unselectable-tag", _WARNING, "No selector can name a tag.")
ODD_TAG: Final = Rule("MAD115", "odd-tag", _NOTE, "A tag cannot be used with pytest -m.")
HIDDEN_TAG: Final = Rule("MAD116", "hidden-tag", _WARNING, "A model of the same name hides a tag.")
SHARED_RESULTS: Final = Rule(
    "MAD117", "shared-results", _NOTE, "Several models name the same file of multiple results."
)
EMPTY_PATTERN: Final = Rule("MAD118", "empty-pattern", _WARNING, "An error pattern is empty.")

# ---- Dockerfiles ------------------------------------------------------------------------------------------
NO_DOCKERFILE: Final = Rule("MAD201", "no-dockerfile", _ERROR, "No Dockerfile matches a model.")
NO_CONTEXT: Final = Rule(
    "MAD202", "missing-context", _WARNING, "A Dockerfile has no CONTEXT line: it matches every host."
)
INVALID_CONTEXT: Final = Rule("MAD203", "invalid-context", _ERROR, "A CONTEXT line is malformed.")
UNREAD_CONTEXT: Final = Rule("MAD204", "unread-context", _WARNING, "A CONTEXT line is not read.")
TWO_CONTEXTS: Final = Rule("MAD205", "second-context", _ERROR, "A Dockerfile has two CONTEXT lines.")
ODD_CONTEXT: Final = Rule(
    "MAD206", "unknown-context-value", _WARNING, "A CONTEXT line names an unknown vendor or guest system."
)
NO_VENDOR: Final = Rule(
    "MAD207", "no-dockerfile-for-any-vendor", _ERROR, "No Dockerfile of a model can match any host."
)
NOTHING_FITS: Final = Rule(
    "MAD208", "no-dockerfile-for-context", _ERROR, "No Dockerfile of a model fits the given context."
)
UNPINNED_BASE: Final = Rule(
    "MAD209", "unpinned-base", _NOTE, "A base image has no tag, or the tag latest: it changes by itself."
)
NO_BUILD_CONTEXT: Final = Rule(
    "MAD210", "missing-dockercontext", _ERROR, "The build context of a model is no directory."
)

# ---- scripts ----------------------------------------------------------------------------------------------
NO_SCRIPT: Final = Rule("MAD301", "missing-script", _ERROR, "The script of a model does not exist.")
NO_RUN_SH: Final = Rule("MAD302", "missing-run-sh", _ERROR, "The script directory has no run.sh.")
ODD_SCRIPT: Final = Rule(
    "MAD303", "odd-script-name", _NOTE, "A script is neither *.sh, *.slurm, *.sbatch nor *.py."
)
WRONG_SHEBANG: Final = Rule(
    "MAD304", "wrong-interpreter", _WARNING, "The first line of a script names another interpreter."
)
WINDOWS_LINES: Final = Rule(
    "MAD305",
    "windows-line-ends",
    _WARNING,
    "A shell script has Windows line ends, which bash takes for text.",
)
NO_PERFORMANCE: Final = Rule(
    "MAD306",
    "no-performance",
    _NOTE,
    "No file beside the script prints performance, and no results file is named.",
)

# ---- secrets ----------------------------------------------------------------------------------------------
SECRET: Final = Rule("MAD401", "secret", _ERROR, "A file holds what looks like a token, key or password.")
SECRET_VALUE: Final = Rule(
    "MAD402", "secret-value", _WARNING, "A variable with the name of a secret has a literal value."
)
READABLE_CREDENTIALS: Final = Rule(
    "MAD403", "readable-credentials", _WARNING, "credential.json can be read by others."
)
TRACKED_CREDENTIALS: Final = Rule(
    "MAD404", "tracked-credentials", _ERROR, "credential.json is tracked by git."
)
UNKNOWN_CREDENTIAL: Final = Rule(
    "MAD405", "unknown-credential", _WARNING, "A model needs a credential that credential.json does not have."
)

# ---- data -------------------------------------------------------------------------------------------------
INVALID_DATA: Final = Rule("MAD501", "invalid-data", _ERROR, "A data name of data.json cannot be used.")
ODD_DATA: Final = Rule("MAD502", "odd-data", _WARNING, "Something in data.json has no effect.")
UNKNOWN_DATA: Final = Rule(
    "MAD503", "unknown-data", _ERROR, "A model needs data that data.json does not define."
)
NO_DATA_FILE: Final = Rule(
    "MAD504", "no-data-file", _NOTE, "A model needs data and there is no data.json: it runs without."
)

# ---- tools, launchers, docker options ---------------------------------------------------------------------
INVALID_TOOL: Final = Rule("MAD601", "invalid-tool", _ERROR, "A tool of tools.json cannot be used.")
NO_TOOL_SCRIPT: Final = Rule("MAD602", "missing-tool-script", _WARNING, "A script of a tool does not exist.")
ODD_TOOLS: Final = Rule("MAD603", "odd-tools", _WARNING, "Something in tools.json has no effect.")
UNKNOWN_LAUNCHER: Final = Rule("MAD611", "unknown-launcher", _ERROR, "A launcher or its port is unknown.")
ODD_DISTRIBUTED: Final = Rule("MAD612", "odd-distributed", _WARNING, "A field of distributed has no effect.")
REFUSED_OPTION: Final = Rule(
    "MAD621", "refused-docker-option", _ERROR, "A docker option is unknown, malformed or not allowed."
)
IDLE_OPTION: Final = Rule("MAD622", "idle-docker-option", _WARNING, "A docker option has no effect.")

# ---- get_models_json.py -----------------------------------------------------------------------------------
INVALID_PYTHON: Final = Rule("MAD701", "invalid-python", _ERROR, "A get_models_json.py is no Python.")
NO_LIST_MODELS: Final = Rule(
    "MAD702",
    "missing-list-models",
    _ERROR,
    "A get_models_json.py defines no list_models() without arguments.",
)
DYNAMIC_FAILURE: Final = Rule(
    "MAD703", "failing-models", _ERROR, "A get_models_json.py fails when it is executed (--dynamic)."
)
NO_DYNAMIC_MODELS: Final = Rule(
    "MAD704", "no-dynamic-models", _WARNING, "A get_models_json.py returns no model (--dynamic)."
)

#: All rules in the order of their numbers.
RULES: Final[tuple[Rule, ...]] = tuple(
    sorted((value for value in list(globals().values()) if isinstance(value, Rule)), key=lambda rule: rule.id)
)


def find_rules(values: Iterable[str]) -> frozenset[str]:
    """Ids of the rules that ``--ignore`` names by id or name, separated by commas.

    :raises ConfigError: there is no such rule.
    """
    known = {word: rule.id for rule in RULES for word in (rule.id.lower(), rule.name)}
    found = set()
    for word in (part.strip() for value in values for part in value.split(",")):
        if not word:
            continue
        if word.lower() not in known:
            close = difflib.get_close_matches(word.lower(), sorted(known), n=1)
            meant = known[close[0]] if close and close[0].startswith("mad") else (close or [""])[0]
            raise ConfigError(
                f"--ignore: there is no rule {word!r}",
                hint=f"did you mean {meant}?"
                if meant
                else "rules have ids like MAD101 and names like wrong-type",
            )
        found.add(known[word.lower()])
    return frozenset(found)
