"""How fast prompts are hashed, matched against a large fleet and stored; answers are checked against a naive model."""
