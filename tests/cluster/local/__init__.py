"""The local cluster: Kubernetes' own programs, built from source and run as processes of this machine."""
