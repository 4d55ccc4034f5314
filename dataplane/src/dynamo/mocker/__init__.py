"""An engine without a GPU that behaves like vLLM: same wire format, scheduler, paged cache, events and metrics.

Pure core, also for virtual time: `cache`, `scheduler`, `timing`, `tokens`, `work`. Around it: `engine` (the `Engine`
that the worker shell runs), `connection` and `api` (its OpenAI server), `service` (what they share), `kv_events`,
`metrics`. Nothing but `python -m dynamo.mocker` and the fleet simulator imports it.
"""
