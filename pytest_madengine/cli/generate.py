"""``generate k8s | ansible | slurm``: files that run the models of a manifest elsewhere (contract 19.2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_madengine.cli.command import MadGroup
from pytest_madengine.cli.common import reports_errors, say, warn
from pytest_madengine.options import DEFAULT_MANIFEST

if TYPE_CHECKING:
    from pytest_madengine.generate.common import Generated

generate_app = typer.Typer(
    cls=MadGroup, no_args_is_help=False, help="Write files that run the models of a manifest elsewhere."
)

ManifestFile = Annotated[
    Path, typer.Option("--manifest-file", "-m", "--manifest", metavar="FILE", help="The build manifest.")
]
Environment = Annotated[
    str,
    typer.Option(
        "--environment", "-e", metavar="NAME", help="A name for this deployment: results and labels carry it."
    ),
]
ContextText = Annotated[
    str,
    typer.Option(
        "--additional-context",
        "-c",
        "--context",
        metavar="STR",
        help='Context of the target as JSON, e.g. {"k8s": {"gpu_count": 8}}.',
        show_default=False,
    ),
]
ContextFile = Annotated[
    Path | None,
    typer.Option(
        "--additional-context-file", "-f", "--context-file", metavar="FILE", help="The same as a file."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--mad-root",
        "--root",
        metavar="DIR",
        help="The MAD repository (default: MODEL_DIR, this directory, or that of the manifest).",
    ),
]
_MANIFEST = Path(DEFAULT_MANIFEST)


@generate_app.command("ansible")
@reports_errors
def ansible(
    manifest: ManifestFile = _MANIFEST,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The playbook.")] = Path(
        "madengine_distributed.yml"
    ),
    environment: Environment = "default",
    context: ContextText = "",
    context_file: ContextFile = None,
    root: Root = None,
) -> None:
    """Write a playbook that runs the models on the hosts of the group gpu_nodes and brings results back.

    Example: madengine-cli generate ansible -m build_manifest.json -o nightly.yml
    """
    from pytest_madengine.generate.common import generate_ansible

    _report(
        generate_ansible(
            manifest, output, environment=environment, root=root, context=context, context_file=context_file
        )
    )


@generate_app.command("k8s")
@reports_errors
def k8s(
    manifest: ManifestFile = _MANIFEST,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of all objects.")
    ] = "madengine",
    environment: Environment = "default",
    directory: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Where the files go.")
    ] = Path(),
    context: ContextText = "",
    context_file: ContextFile = None,
    root: Root = None,
) -> None:
    """Write Kubernetes objects: one Job per model, with a ConfigMap and claims; no secret is in them.

    Example: madengine-cli generate k8s -n bench -o k8s -c '{"gpu_vendor": "AMD"}'
    """
    from pytest_madengine.generate.common import generate_k8s

    _report(
        generate_k8s(
            manifest,
            directory,
            namespace=namespace,
            environment=environment,
            root=root,
            context=context,
            context_file=context_file,
        )
    )


@generate_app.command("slurm")
@reports_errors
def slurm(
    manifest: ManifestFile = _MANIFEST,
    environment: Environment = "default",
    directory: Annotated[
        Path, typer.Option("--output-dir", "--output", "-o", metavar="DIR", help="Where the files go.")
    ] = Path("slurm-setup"),
    context: ContextText = "",
    context_file: ContextFile = None,
    root: Root = None,
) -> None:
    """Write a job script per model for sbatch, and a script that submits them all.

    Example: madengine-cli generate slurm -c '{"slurm": {"partition": "gpu", "nodes": 2}}'
    """
    from pytest_madengine.generate.common import generate_slurm

    _report(
        generate_slurm(
            manifest,
            directory,
            environment=environment,
            root=root,
            context=context,
            context_file=context_file,
        )
    )


def _report(generated: Generated) -> None:
    for text in generated.warnings:
        warn(text)
    for path in generated.files:
        say(str(path))
    say()
    for line in generated.next_steps:
        say(line)
