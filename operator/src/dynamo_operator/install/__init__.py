"""What the Helm chart runs in pods of its own: `python -m dynamo_operator.install crds` and `… check`.

Duty: put the custom resource definitions on a cluster, and prove after an install that admission works. It needs rights
that the operator itself must not hold, so it is a program of its own. Callers: the chart's hooks, people, tests.
"""
