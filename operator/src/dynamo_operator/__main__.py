"""`python -m dynamo_operator`: the operator's process."""
