"""Why a test cluster can't be had.

ClusterError          a step failed; the message says which, and quotes the end of the log
└─ ClusterUnavailable this machine can't run that kind of cluster; tests skip with the message
"""

from __future__ import annotations


class ClusterError(Exception):
    """A step of a test cluster failed."""


class ClusterUnavailable(ClusterError):
    """This machine lacks what the cluster needs; the message says what, and how to get it."""
