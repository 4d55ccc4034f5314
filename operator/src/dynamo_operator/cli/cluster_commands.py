"""The commands about manifests and clusters: their flags and exit codes. Declared onto the program by `main`.

Imports nothing that a command does not need before it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from dynamo_operator.cli.target import Target

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Kubernetes namespace; default: the context's own.")
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Default: KUBECONFIG, then ~/.kube/config, then the pod's own.")]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")]
Grove = Annotated[bool, typer.Option("--grove", help="Judge as on a cluster that has Grove.")]


def add_cluster_commands(app: typer.Typer) -> None:
    app.command()(lint)
    app.command(cls=_PlanCommand)(plan)
    app.command()(get)
    app.command()(describe)
    app.command()(top)


class _PlanCommand(TyperCommand):
    """Exit code 2 says "changes"; a mistake on the command line must not."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            if getattr(error, "exit_code", None) == 2:
                error.exit_code = 1  # type: ignore[attr-defined]
            raise


def lint(
    file: Annotated[
        list[Path],
        typer.Option("--file", "-f", help="Manifest or folder of manifests; repeatable; '-': standard input."),
    ],
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o")] = "text",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail, too.")] = False,
    grove: Grove = False,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Where manifests without one go.")] = None,
) -> None:
    """Say everything that is wrong with manifests, without a cluster.

    Every rule of admission, whether it renders, and the contracts between components. Exit codes: 0 no errors, 1 errors
    (with --strict also warnings), 2 the files could not be read.
    """
    from dynamo_operator.cli.lint import LintOptions, lint_files

    raise typer.Exit(lint_files(LintOptions(tuple(file), output == "json", strict, grove, namespace)))


def plan(
    file: Annotated[
        Path, typer.Option("--file", "-f", help="Manifest, or folder of manifests; '-' reads standard input.")
    ],
    against: Annotated[
        Path | None, typer.Option("--against", help="Compare with this older manifest instead of a cluster.")
    ] = None,
    output: Annotated[Literal["text", "json", "yaml"], typer.Option("--output", "-o")] = "text",
    grove: Grove = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say what `kubectl apply` of a manifest would change, and change nothing.

    Objects, replicas that end and why, capacity step by step, KV caches lost, GPUs at the peak. Exit codes: 0 nothing
    would change, 2 something would, 1 an error.
    """
    from dynamo_operator.cli.planning import PlanOptions, plan_file

    raise typer.Exit(plan_file(PlanOptions(file, against, output, Target(kubeconfig, context, namespace), grove)))


def get(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="dgd (graphs), dcd, dgdsa, dm (models), workers or all.")
    ] = "dgd",
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One object; of workers: their graph.")] = None,
    output: Annotated[Literal["table", "wide", "json", "yaml", "name"], typer.Option("--output", "-o")] = "table",
    everywhere: Everywhere = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List graphs, components, adapters, models or workers of a cluster."""
    from dynamo_operator.cli.listing import ListOptions, list_objects

    target = Target(kubeconfig, context, namespace)
    list_objects(ListOptions(kind, name, output, everywhere), target)


def describe(
    name: Annotated[list[str], typer.Argument(metavar="NAME", help="A graph; dgd/NAME and dgd NAME mean the same.")],
    output: Annotated[Literal["text", "json", "yaml"], typer.Option("--output", "-o")] = "text",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Tell how a graph on a cluster is doing: components, rollouts, workers, conditions and events."""
    from dynamo_operator.cli.describing import describe_graph

    describe_graph(name, Target(kubeconfig, context, namespace), output)


def top(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A graph; default: all.")] = None,
    interval: Annotated[float, typer.Option(min=0.5, help="Seconds between readings, which rates span.")] = 2.0,
    output: Annotated[Literal["table", "json"], typer.Option("--output", "-o")] = "table",
    once: Annotated[bool, typer.Option("--once", help="Print one table and end; so it is without a terminal.")] = False,
    everywhere: Everywhere = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what each worker of a cluster does: requests, KV use, tokens, latencies; until Ctrl-C."""
    from dynamo_operator.cli.watching import TopOptions, watch_workers

    target = Target(kubeconfig, context, namespace)
    watch_workers(TopOptions(name, interval, output == "json", once, everywhere), target)
