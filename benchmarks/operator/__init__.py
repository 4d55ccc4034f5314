"""The operator at scale: hundreds of graphs on a real API server whose nodes only pretend."""
