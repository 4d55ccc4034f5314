"""From prompts to token ids, for routing only: engines tokenize for themselves."""

from dynamo.frontend.tokens.shelf import TokenizerShelf

__all__ = ["TokenizerShelf"]
