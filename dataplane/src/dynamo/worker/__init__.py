"""The shell around an engine: card, registration, system server, event relay, drain. Shared by all engines."""
