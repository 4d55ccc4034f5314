"""The installer's command line. Exits with 1 and one line on stderr when something is wrong."""

from __future__ import annotations

import argparse
import sys

import httpx2
from lightkube import ApiError, Client, ConfigError

from dynamo_operator.install.check import CheckFailed, check
from dynamo_operator.install.definitions import NotEstablished, apply_definitions, definitions


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        client = Client()
        if options.command == "crds":
            wanted = definitions(options.webhook_namespace, options.webhook_service, options.inject_ca_from)
            apply_definitions(client, wanted, print)
        else:
            check(client, options.namespace, print, has_webhook=not options.without_webhook)
    except (ApiError, ConfigError, CheckFailed, NotEstablished, httpx2.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dynamo_operator.install", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    crds = commands.add_parser("crds", help="apply the custom resource definitions and wait until they are served")
    crds.add_argument("--webhook-namespace", default="dynamo-system", help="namespace of the conversion webhook")
    crds.add_argument("--webhook-service", default="dynamo-operator-webhook-service", help="its Service")
    crds.add_argument("--inject-ca-from", default="", help="cert-manager's namespace/certificate, where it makes one")
    tries = commands.add_parser("check", help="prove by dry runs that graphs are admitted and refused as they should")
    tries.add_argument("--namespace", required=True, help="a namespace that the operator serves")
    tries.add_argument("--without-webhook", action="store_true", help="the installation runs without webhooks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
