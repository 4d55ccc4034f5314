"""The way of a cluster where Docker runs: kind, with our images built and loaded."""
