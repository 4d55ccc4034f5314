"""An engine without a GPU that behaves like vLLM on the wire. Runs as `python -m dynamo.mocker`."""
