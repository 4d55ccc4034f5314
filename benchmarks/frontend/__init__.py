"""What a frontend costs: CPU per request and per streamed token, beside `vllm-router`, over the same mock workers.

Both run in one session, interleaved, as single processes; CPU is what the operating system accounted to the process
and its threads. The workers answer from prepared bytes, so that their own cost does not crowd out what is measured.
"""
