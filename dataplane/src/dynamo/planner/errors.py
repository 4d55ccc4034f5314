"""What can go wrong around the planner.

PlannerError
  ConfigError      a setting that cannot be used; the message names it, what was found and what is allowed
  GraphError       the graph has no components for this mode, or too many
  ConnectorError   the control plane did not do as asked
    Refused        it will not before somebody grants a right or changes the object
    Conflicted     somebody else changed it meanwhile; look again
    Unreachable    no answer, a broken one, or too late; whether a write arrived is unknown
"""

from __future__ import annotations


class PlannerError(Exception):
    """The message is for whoever runs the planner: one sentence, no trace."""


class ConfigError(PlannerError):
    """Ends the start."""


class GraphError(PlannerError):
    """Nothing can be scaled before the graph changes."""


class ConnectorError(PlannerError):
    """The planner holds and tries again at the next tick."""


class Refused(ConnectorError):
    """Said in an Event, since a person has to act."""


class Conflicted(ConnectorError):
    """Worth another look at once."""


class Unreachable(ConnectorError):
    """Worth another try at the next tick."""
