"""Who is there: publishing and watching worker cards. Implementations beside each other; consumers declare the port."""

from dynamo.discovery.factory import DISCOVERY_ENV, DiscoveryError, open_discovery, open_registry
from dynamo.discovery.file import HEARTBEAT_S

__all__ = ["DISCOVERY_ENV", "HEARTBEAT_S", "DiscoveryError", "open_discovery", "open_registry"]
