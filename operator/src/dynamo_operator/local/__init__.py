"""Rendered graphs as processes of this machine: plan (pure), supervise, state on disk."""
