"""What one answer's stream says about speed: first token, gaps, counts. Fed with frame counts, never with text.

Owned by one request. The engine's usage, once it comes, corrects what was counted from frames.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamo.frontend.metrics.counts import ModelCounts
from dynamo.wire.openai_usage import Usage
from dynamo.wire.sse import frames as split_frames

REPORT_S = 0.5
"""A router wants tokens to size a request's cache and to see that it lives; both bear half a second."""
_DONE_FRAME = b"[DONE]\n\n"


class Meter:
    """Counts the tokens of one streamed answer as they pass."""

    __slots__ = (
        "_counts",
        "_on_first_token",
        "_on_tokens",
        "_report_at_s",
        "_started_s",
        "_unreported",
        "first_token_s",
        "last_token_s",
        "tokens",
        "usage",
    )

    def __init__(
        self,
        counts: ModelCounts,
        started_s: float,
        *,
        on_first_token: Callable[[], None],
        on_tokens: Callable[[int], None],
    ) -> None:
        """`on_tokens` hears of further tokens, at most once per REPORT_S."""
        self._counts = counts
        self._started_s = started_s
        self._on_first_token = on_first_token
        self._on_tokens = on_tokens
        self.first_token_s: float | None = None
        self.last_token_s = 0.0
        self.tokens = 0
        """Frames with a token so far. The last frame may carry only the finish reason, so one is counted late."""
        self.usage: Usage | None = None
        self._unreported = 0
        self._report_at_s = 0.0

    def frames(self, payload: bytes, count: int, now_s: float) -> None:
        """`count` frames arrived at `now_s`; `payload` is looked into only around the first and the last token."""
        if payload[-8:] == _DONE_FRAME:
            count -= 1
        if self.first_token_s is None:
            count -= _role_frames(payload)
            if count <= 0:
                return
            self._first_token(now_s)
            count -= 1
        if count <= 0:
            return
        counts = self._counts
        counts.itl_s.observe((now_s - self.last_token_s) / count, count)
        counts.output_tokens += count
        self.last_token_s = now_s
        self.tokens += count
        self._unreported += count
        if now_s >= self._report_at_s:
            self._on_tokens(self._unreported)
            self._unreported, self._report_at_s = 0, now_s + REPORT_S

    def answered(self, now_s: float) -> None:
        """A unary answer is there: all its tokens at once, so this is its first token too."""
        if self.first_token_s is None:
            self._first_token(now_s)

    @property
    def output_tokens(self) -> int:
        return self.usage.completion_tokens if self.usage is not None else self.tokens

    def close(self) -> None:
        """Adds what frames did not show: tokens that came several in a frame, and the one counted late."""
        live = max(self.tokens - 1, 0)
        self._counts.output_tokens += max(self.output_tokens - live, 0)

    @property
    def mean_itl_s(self) -> float:
        if self.first_token_s is None or self.tokens < 2:
            return 0.0
        return (self.last_token_s - self.first_token_s) / (self.tokens - 1)

    def _first_token(self, now_s: float) -> None:
        self.first_token_s = self.last_token_s = now_s
        self.tokens = 1
        self._counts.ttft_s.observe(now_s - self._started_s)
        self._on_first_token()


def _role_frames(payload: bytes) -> int:
    """Frames that only open a message: engines send them before there is a token."""
    if b'"role"' not in payload:
        return 0
    return sum(
        b'"role"' in frame and (b'"content":""' in frame or b'"content": ""' in frame or b'"content"' not in frame)
        for frame in split_frames(payload)
    )
