"""Entry point of `dynamo`: commands, their flags, and how errors look.

Each command imports what it needs when it runs, so that `dynamo --help` is instant. An error is one line and a hint,
never a stack trace.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Literal

import typer

from dynamo_operator.cli.cluster_commands import (
    Context,
    Kubeconfig,
    Namespace,
    add_cluster_commands,
)
from dynamo_operator.cli.complaint import complain
from dynamo_operator.cli.target import Target
from dynamo_operator.local.errors import Refused

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Serve models from one DynamoGraphDeployment file, here or on a cluster.",
)

File = Annotated[
    Path, typer.Option("--file", "-f", help="Manifest: one or more YAML documents; '-' reads standard input.")
]
READER_GONE = 141
"""As a shell tells of a program that a closed pipe ended."""

GraphName = Annotated[str | None, typer.Argument(metavar="NAME", help="A graph; may be left out if only one is up.")]


@app.command()
def up(
    file: File,
    port: Annotated[int | None, typer.Option(help="Frontend port; default: the manifest's, or the next free.")] = None,
    host: Annotated[str, typer.Option(help="Address the frontend listens on.")] = "127.0.0.1",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once ready; keep running.")] = False,
    graph: Annotated[str | None, typer.Option(help="Which graph, if the file holds several.")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Once ready, send a few chats that share a long prefix.")
    ] = False,
    prompt: Annotated[
        list[str] | None, typer.Option(help="A question for --demo instead of its own; repeatable.")
    ] = None,
) -> None:
    """Run a graph on this machine, as local processes, until Ctrl-C."""
    from dynamo_operator.cli.up import UpOptions, bring_up

    questions = tuple(prompt or ()) if demo or prompt else None
    bring_up(UpOptions(file, port, host, detach, graph, questions))


@app.command()
def down(
    name: GraphName = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop every graph that is up.")] = False,
) -> None:
    """Stop a graph that runs on this machine, and wait until nothing of it is left."""
    from dynamo_operator.cli.running import take_down

    take_down(name, everything=everything)


@app.command()
def ps(output: Annotated[Literal["table", "json"], typer.Option("--output", "-o")] = "table") -> None:
    """Show the graphs that run on this machine and their processes."""
    from dynamo_operator.cli.running import show_running

    show_running(as_json=output == "json")


@app.command()
def logs(
    name: GraphName = None,
    component: Annotated[
        str | None,
        typer.Argument(metavar="COMPONENT", help="A component, or one of its processes or pods; default: all."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what is written.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Last lines of each process.")] = 100,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the container that ran before its restart; on a cluster.")
    ] = False,
    container: Annotated[str, typer.Option("--container", "-c", help="Which container; on a cluster.")] = "main",
    cluster: Annotated[bool, typer.Option("--cluster", help="Of the cluster, whatever runs here.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print what the processes of a graph wrote, here or on a cluster.

    A graph that ran on this machine is meant if there is one of that name; --cluster, or any flag that names a cluster
    or a namespace, asks the cluster instead.
    """
    from dynamo_operator.cli.log_wish import LogWish
    from dynamo_operator.cli.logs import show_logs

    wish = LogWish(name, component, follow, tail, previous, container)
    show_logs(wish, Target(kubeconfig, context, namespace), is_cluster_meant=cluster)


@app.command()
def render(
    file: File,
    output: Annotated[Literal["yaml", "json"], typer.Option("--output", "-o")] = "yaml",
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Kubernetes namespace.")] = None,
) -> None:
    """Print the Kubernetes objects that the operator makes of a manifest."""
    from dynamo_operator.cli.rendering import print_rendered

    print_rendered(file, as_json=output == "json", namespace=namespace)


add_cluster_commands(app)


@app.command()
def version() -> None:
    """Print the installed version."""
    print(f"dynamo {installed_version('dynamo-inference')} (Python {sys.version.split()[0]})")


def main() -> None:
    """`kubectl dynamo` runs a program called kubectl-dynamo: the same, under the name that was typed."""
    is_plugin = Path(sys.argv[0]).name.startswith("kubectl-dynamo")
    stdout = sys.stdout
    try:
        try:
            app(prog_name="kubectl dynamo" if is_plugin else "dynamo")
        except SystemExit:
            if sys.stdout is not stdout:  # so typer leaves it behind when the reader went away, with exit code 1
                raise BrokenPipeError from None
            stdout.flush()  # a short answer leaves only here
            raise
    except Refused as refused:
        complain(refused)
        sys.exit(1)
    except BrokenPipeError:
        # The reader went away (`dynamo logs | head`); point stdout elsewhere so that its flush at exit stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        sys.exit(READER_GONE)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        hint = "set XDG_STATE_HOME to a folder that you can write" if error.errno in {errno.EACCES, errno.EROFS} else ""
        complain(Refused(f"{error.strerror or error}{where}", hint))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # the last resort: a user gets one line, and the trace is kept for a report
        from dynamo_operator.local.bugs import bug_line

        print(bug_line(error), file=sys.stderr)
        sys.exit(70)
