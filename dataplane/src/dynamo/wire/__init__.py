"""Pure formats that cross a process boundary: cards, events, block hashes, OpenAI bodies, server-sent events.

No I/O, no clock, no logging. Everything else in the data plane may import it; it imports nothing of the data plane.
"""
