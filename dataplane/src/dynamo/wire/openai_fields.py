"""Which top-level fields each OpenAI request may carry, and within which bounds. Tables only.

OpenAI's documented fields come first, then what engines of this product understand beside them. Left out on purpose,
though some engines take them: `chat_template` (runs a stranger's template) and `kv_transfer_params` (lets a stranger
name the host that a worker pulls memory from).
"""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CHAT_OPENAI: Final = _names(
    """
    messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    metadata modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
    """
)
COMPLETIONS_OPENAI: Final = _names(
    """
    model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream
    stream_options suffix temperature top_p user
    """
)
EMBEDDINGS_OPENAI: Final = _names("input model dimensions encoding_format user")
RESPONSES_OPENAI: Final = _names(
    """
    background context_management conversation include input instructions max_output_tokens max_tool_calls metadata
    model moderation parallel_tool_calls personality previous_response_id prompt prompt_cache_key prompt_cache_options
    prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options temperature text
    tool_choice tools top_logprobs top_p truncation user
    """
)

SAMPLING_EXTRAS: Final = _names(
    """
    nvext ignore_eos min_tokens min_p top_k repetition_penalty length_penalty use_beam_search skip_special_tokens
    spaces_between_special_tokens include_stop_str_in_output stop_token_ids bad_words allowed_token_ids prompt_logprobs
    guided_json guided_regex guided_choice guided_grammar guided_whitespace_pattern guided_decoding_backend
    structured_outputs response_format chat_template_args chat_template_kwargs media_io_kwargs mm_processor_kwargs
    thinking thinking_token_budget return_tokens_as_token_ids return_token_ids truncate_prompt_tokens
    add_special_tokens cache_salt max_completion_tokens priority request_id mocker_fault
    """
)
CHAT_EXTRAS: Final = _names("add_generation_prompt continue_final_message echo documents include_reasoning")
COMPLETIONS_EXTRAS: Final = _names("stream_options")
EMBEDDINGS_EXTRAS: Final = _names(
    "nvext truncate_prompt_tokens add_special_tokens cache_salt priority request_id mocker_fault"
)

CHAT: Final = CHAT_OPENAI | SAMPLING_EXTRAS | CHAT_EXTRAS
COMPLETIONS: Final = COMPLETIONS_OPENAI | SAMPLING_EXTRAS | COMPLETIONS_EXTRAS
RESPONSES: Final = RESPONSES_OPENAI | _names("nvext mocker_fault")
EMBEDDINGS: Final = EMBEDDINGS_OPENAI | EMBEDDINGS_EXTRAS

NVEXT: Final = _names(
    """
    greed_sampling use_raw_prompt annotations backend_instance_id token_data max_thinking_tokens cache_salt extra_fields
    metadata_upload prefill_worker_id decode_worker_id dp_rank prefill_dp_rank agent_hints request_timestamp_ms
    routing_constraints router
    """
)

BOUNDS: Final[dict[str, tuple[float, float | None]]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "n": (1, 128),
    "best_of": (0, 128),
    "max_tokens": (0, None),
    "max_completion_tokens": (0, None),
    "min_tokens": (0, None),
    "top_logprobs": (0, 20),
    "logprobs": (0, 5),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "logit_bias": (-100, 100),
    "dimensions": (1, None),
    "seed": (-(2**63), 2**63 - 1),
}
"""Least and most allowed, both included. `max_tokens: 0` is allowed: OpenAI's own client tests send it."""
