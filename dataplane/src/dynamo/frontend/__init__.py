"""The OpenAI server: accept, parse, admit, route, forward bytes, account. Runs as `python -m dynamo.frontend`."""
