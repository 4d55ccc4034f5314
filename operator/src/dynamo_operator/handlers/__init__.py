"""The operator's edge: kopf's watches feed a store and a queue, and one task per dirty root runs its controller.

Duty: watching, queueing, backoff, leader election and metrics. It must not decide anything about graphs.
"""
