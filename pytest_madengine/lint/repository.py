"""All checks of a MAD repository, in one go: no problem hides another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_madengine.catalog.checks import RootFiles
from pytest_madengine.catalog.discovery import Source, survey
from pytest_madengine.catalog.selectors import ModelIndex, parse_selectors, resolve
from pytest_madengine.errors import CatalogError, ConfigError, SelectorError
from pytest_madengine.lint import rules
from pytest_madengine.lint.configs import DataChecks, check_credentials, check_leaks, check_tools
from pytest_madengine.lint.dockerfiles import DockerfileChecks
from pytest_madengine.lint.documents import Collector, Entry, Texts
from pytest_madengine.lint.entries import check_document, check_fields, check_together
from pytest_madengine.lint.findings import Place, Report, in_order
from pytest_madengine.lint.options import OptionChecks
from pytest_madengine.lint.programs import check_program, run_program
from pytest_madengine.lint.scripts import ScriptChecks

if TYPE_CHECKING:
    from pytest_madengine.context.types import Context
    from pytest_madengine.plan.tools import ToolsConfig

#: Seconds that each answer of a get_models_json.py may take (contract section 6).
_LIMIT: Final = 60.0


@dataclass(frozen=True)
class LintRequest:
    """What is checked, and how.

    :param root: the MAD root; it is only read.
    """

    root: Path
    #: Selectors; only what is wrong with these models, and with files they share, is reported.
    tags: Sequence[str] = ()
    #: Ids of rules that report nothing.
    ignored: frozenset[str] = frozenset()
    #: Execute ``get_models_json.py`` files.
    dynamic: bool = False
    #: The additional context of a run: Dockerfiles are then compared with it as well.
    context: str = ""
    context_file: Path | None = None
    #: Environment of the programs that ``dynamic`` executes; secrets are removed from it.
    environ: Mapping[str, str] = field(default_factory=dict)


def lint(request: LintRequest) -> Report:
    """Checks a repository.

    :raises ConfigError: there is no MAD root, a selector chooses nothing, or the context is wrong.
    """
    root = request.root
    if not (root / "models.json").is_file():
        hint = "give the directory that has models.json and scripts/"
        raise ConfigError(f"{root} is no MAD root: it has no models.json", hint=hint)
    collector = Collector(request.ignored)
    texts = Texts(root, collector)
    entries, not_executed = _read_models(request, texts, collector)
    chosen = _chosen(request.tags, entries, not_executed)
    tools = check_tools(texts, collector)
    context = _context(request, tools)
    files = RootFiles(root)
    data = DataChecks(texts, collector, context.get("data") if context is not None else None)
    dockerfiles = DockerfileChecks(files, texts, collector, context)
    scripts = ScriptChecks(files, texts, collector)
    options = OptionChecks(collector)
    for entry in chosen:
        check_fields(entry, collector)
        dockerfiles.check(entry)
        scripts.check(entry)
        options.check(entry)
        data.check(entry)
    check_together(entries, collector)
    check_credentials(texts, chosen, collector)
    names = {entry.model.name for entry in chosen} if request.tags else None
    findings = [
        finding
        for finding in collector.findings
        if names is None or not finding.model or finding.model in names
    ]
    return Report(in_order(findings), len(chosen), len(collector.files), tuple(not_executed))


def _read_models(request: LintRequest, texts: Texts, collector: Collector) -> tuple[list[Entry], list[str]]:
    """The models of all files, and the programs that were not executed."""
    entries: list[Entry] = []
    not_executed: list[str] = []
    for item in survey(request.root):
        if isinstance(item, CatalogError):
            _report_layout(item, request.root, collector)
        elif not item.dynamic:
            document = texts.json(item.path)
            if document is not None:
                check_leaks(document, collector)
                entries += check_document(document, item, collector)
        else:
            entries += _program(item, request, texts, collector, not_executed)
    return entries, not_executed


def _program(
    source: Source, request: LintRequest, texts: Texts, collector: Collector, not_executed: list[str]
) -> list[Entry]:
    runnable = check_program(source, texts, collector)
    if not request.dynamic:
        not_executed.append(source.path)
        return []
    return run_program(source, request.root, request.environ, _LIMIT, collector) if runnable else []


def _report_layout(error: CatalogError, root: Path, collector: Collector) -> None:
    """A directory that is missing, closed, or has both kinds of file; its error says which."""
    base = f"{root.absolute()}/"
    message = error.message.replace(base, "")
    if message.startswith("Both "):
        directory = message.rpartition(" in ")[2].rstrip(".")
        place = Place(f"{directory}/get_models_json.py", 1)
        collector.add(rules.BOTH_KINDS, place, message, hint=error.hint)
    elif message.startswith("scripts directory not found"):
        collector.add(rules.NO_SCRIPTS, Place("scripts"), "there is no directory scripts", hint=error.hint)
    else:
        path, _, reason = message.partition(": ")
        collector.add(rules.UNREADABLE, Place(path), reason or message, hint=error.hint)


def _chosen(tags: Sequence[str], entries: Sequence[Entry], not_executed: Sequence[str]) -> list[Entry]:
    """The entries that the selectors choose; all of them without a selector."""
    if not tags:
        return list(entries)
    try:
        selection = resolve(parse_selectors(tags), ModelIndex(entry.model for entry in entries))
    except SelectorError as error:
        if not not_executed:
            raise
        hint = f"models of {', '.join(not_executed)} are known only with --dynamic"
        raise SelectorError(error.message, hint=hint, log_tail=error.log_tail) from None
    names = {item.model.name for item in selection.items}
    return [entry for entry in entries if entry.model.name in names]


def _context(request: LintRequest, tools: ToolsConfig) -> Context | None:
    """The context that a run with these options would have; ``None`` without any."""
    if not request.context.strip() and request.context_file is None:
        return None
    from pytest_madengine.context.build import build_context
    from pytest_madengine.context.host import ctx_test
    from pytest_madengine.context.types import HostFacts
    from pytest_madengine.plan.tools import select_tools

    context = build_context(
        string=request.context,
        file=request.context_file,
        environ={},
        # Of this host nothing counts: the check says the same everywhere.
        facts=HostFacts(ctx_test=ctx_test(request.root)),
    )
    select_tools(tools, context.get("tools"))
    return context
