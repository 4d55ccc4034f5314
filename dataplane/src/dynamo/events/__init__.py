"""KV-cache changes and load, from workers to routers. It decides nothing about routing."""
