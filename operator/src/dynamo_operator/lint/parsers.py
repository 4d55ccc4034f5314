"""Names that workers take for `--dyn-tool-call-parser` and `--dyn-reasoning-parser`."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_TOOL_PARSERS = """
    default hermes llama3_json mistral pythonic phi4 jamba harmony deepseek_v3 deepseek_v3_1 deepseek_v3_2
    deepseek_v4 deepseek_v41 kimi_k2 kimi_k25 kimi_k3 qwen25 qwen3 qwen3_coder glm45 glm47 minimax_m2 minimax_m3
    minimax_m3_nom
    nemotron_deci nemotron_nano gemma4 muse muse_glimmer inkling
"""
_REASONING_PARSERS = """
    basic deepseek_r1 deepseek_v3 deepseek_v3_1 deepseek_v3_2 deepseek_v4 deepseek_v41 qwen3 gpt_oss granite kimi
    kimi_k2 kimi_k25 kimi_k3 nemotron_deci nemotron_nano glm45 glm47 minimax_append_think minimax_m2 minimax_m3 mistral
    step3 gemma4 muse inkling qwen3_coder
"""
TOOL_PARSERS = frozenset(_TOOL_PARSERS.split())
REASONING_PARSERS = frozenset(_REASONING_PARSERS.split())


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that was probably meant; empty if none is near."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), "")
