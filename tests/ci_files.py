"""The files of examples/ci as data: what each CI system would execute, and in which environment."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from docs_pages import PROJECT

CI: Final = PROJECT / "examples" / "ci"
JENKINS: Final = CI / "Jenkinsfile"
GITLAB: Final = CI / ".gitlab-ci.yml"
GITHUB: Final = CI / "github-workflow.yml"


@dataclass(frozen=True)
class Step:
    """One shell script of a pipeline."""

    text: str
    #: As the CI system calls its shell.
    shell: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        """True when it runs models, false when it installs."""
        return "bin/pytest " in self.text


def steps(path: Path) -> list[Step]:
    """The scripts of a file, in order."""
    return {JENKINS: _jenkins, GITLAB: _gitlab, GITHUB: _github}[path]()


def load_yaml(path: Path) -> Any:
    """A YAML file; GitHub's ``on`` is a text, whatever YAML 1.1 says."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if name is True else name: value for name, value in loaded.items()}


def _gitlab() -> list[Step]:
    job = load_yaml(GITLAB)["benchmarks"]
    variables = {name: str(value) for name, value in job["variables"].items()}
    shell = ("bash", "-eo", "pipefail", "-c")
    return [Step("\n".join(job[part]), shell, variables) for part in ("before_script", "script")]


def _github() -> list[Step]:
    """``${{ inputs... || 'demo' }}`` is what a schedule gives, a secret is absent."""
    job = load_yaml(GITHUB)["jobs"]["benchmarks"]
    environment = {name: "demo" if "inputs." in text else "" for name, text in job["env"].items()}
    return [Step(step["run"], ("bash", "-e", "-c"), environment) for step in job["steps"] if "run" in step]


# ---- Jenkins --------------------------------------------------------------------------------------------


def jenkins_tree(text: str) -> Any:
    """The syntax tree of a Groovy source.

    :raises ValueError: it is no Groovy.
    """
    import tree_sitter
    import tree_sitter_groovy

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_groovy.language()))
    root = parser.parse(text.encode()).root_node
    if root.has_error:
        raise ValueError("not valid Groovy")
    return root


@dataclass(frozen=True)
class Directive:
    """``name(arguments) { body }`` of a declarative pipeline."""

    name: str
    #: Positional arguments as source, named ones by their name.
    arguments: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)
    body: tuple[Directive, ...] = ()

    def find(self, name: str) -> list[Directive]:
        """All directives of that name below this one, in order."""
        found = [self] if self.name == name else []
        return found + [one for child in self.body for one in child.find(name)]


def jenkins_directives(node: Any) -> list[Directive]:
    """The statements of a block.

    :raises ValueError: something that a declarative pipeline does not have.
    """
    found = []
    for child in node.named_children:
        if child.type == "line_comment":
            continue
        if child.type == "expression_statement":
            found += jenkins_directives(child)
        elif child.type in ("method_invocation", "juxt_function_call"):
            found.append(_directive(child))
        elif child.type == "assignment_expression":
            left, right = child.child_by_field_name("left"), child.child_by_field_name("right")
            found.append(Directive(_source(left), (_source(right),)))
        else:
            raise ValueError(f"line {child.start_point[0] + 1}: {child.type}")
    return found


def _directive(node: Any) -> Directive:
    arguments = node.child_by_field_name("arguments") or node.child_by_field_name("args")
    body = node.child_by_field_name("body")
    given = list(arguments.named_children) if arguments is not None else []
    return Directive(
        _source(node.child_by_field_name("name")),
        tuple(_source(one) for one in given if one.type != "map_item"),
        {
            _source(one.child_by_field_name("key")): _source(one.child_by_field_name("value"))
            for one in given
            if one.type == "map_item"
        },
        tuple(jenkins_directives(body)) if body is not None else (),
    )


def _source(node: Any) -> str:
    text: str = node.text.decode()
    return text


def groovy_text(literal: str) -> str:
    """The text of a literal in single quotes, which Groovy does not interpolate.

    :raises ValueError: another literal.
    """
    quote = "'''" if literal.startswith("'''") else "'"
    if not (literal.startswith(quote) and literal.endswith(quote)):
        raise ValueError(f"not in single quotes: {literal}")
    # The only escape in use: a line that goes on.
    return textwrap.dedent(literal[len(quote) : -len(quote)].replace("\\\n", ""))


def _jenkins() -> list[Step]:
    (pipeline,) = jenkins_directives(jenkins_tree(JENKINS.read_text(encoding="utf-8")))
    (environment,) = pipeline.find("environment")
    variables = {one.name: groovy_text(one.arguments[0]) for one in environment.body}
    # Of a job's first build: its parameters are no variables yet.
    return [Step(groovy_text(one.arguments[0]), ("sh", "-xec"), variables) for one in pipeline.find("sh")]
