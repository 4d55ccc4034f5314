"""The `dynamo` command line: reads manifests, shows what they become, and runs them on this machine."""
