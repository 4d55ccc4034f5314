"""Which worker serves a request, and why. A library: pure decisions over state that events and requests change."""
