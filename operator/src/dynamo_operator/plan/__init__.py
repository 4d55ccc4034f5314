"""Deciding: what the cluster shows and what a user asks for become what to apply, what to delete, and what to report.

Duty: pure functions over frozen values; the reason is part of the result. It must not read clusters, clocks or
environment, and never logs. Callers: the reconcilers, `dynamo plan`.
"""
