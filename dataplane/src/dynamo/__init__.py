"""The data plane: frontends, routers, workers, and the planes they meet on. It shares documents with the
operator (manifests, environment, cards), never code."""
