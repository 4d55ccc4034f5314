"""Discovery through the Kubernetes API: each worker writes a DynamoWorkerMetadata, frontends join it with readiness.

    identity   which pod this process is        metadata   cards <-> DynamoWorkerMetadata (pure)
    api        requests to the API server       sight      announcements joined with readiness (pure)
    reflector  a collection, kept up to date    registry, discovery   the two ports

The client library is imported here only, and this package only when this backend is chosen.
"""

from dynamo.discovery.cluster.discovery import ClusterDiscovery, open_cluster_discovery
from dynamo.discovery.cluster.registry import ClusterRegistry, open_cluster_registry

__all__ = ["ClusterDiscovery", "ClusterRegistry", "open_cluster_discovery", "open_cluster_registry"]
