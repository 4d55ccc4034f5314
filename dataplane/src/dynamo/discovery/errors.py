"""The one error of this package: discovery that cannot work as configured."""

from __future__ import annotations


class DiscoveryError(Exception):
    """The message names the variable or folder, what was found and what is allowed. The process should not start."""
