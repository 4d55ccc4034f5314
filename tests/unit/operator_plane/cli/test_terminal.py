from __future__ import annotations

import io

import pytest

from dynamo_operator.cli.terminal import columns, paint_for, plain, screenful, tone


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "is_coloured"),
    [
        pytest.param(Screen(), {"TERM": "xterm"}, True, id="terminal"),
        pytest.param(Screen(), {"TERM": "xterm", "NO_COLOR": "1"}, False, id="no-color"),
        pytest.param(Screen(), {"TERM": "dumb"}, False, id="dumb"),
        pytest.param(io.StringIO(), {"TERM": "xterm"}, False, id="pipe"),
    ],
)
def test_colours_only_on_a_terminal_that_wants_them(
    stream: io.StringIO, env: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, text in env.items():
        monkeypatch.setenv(name, text)

    assert ("\033[" in paint_for(stream)("x", "red")) is is_coloured


def test_columns_are_aligned_and_never_cut() -> None:
    assert columns(("A", "B"), [("x" * 90, "1"), ("y", "2")]) == [
        f"A{' ' * 92}B",
        f"{'x' * 90}   1",
        f"y{' ' * 92}2",
    ]


HEADINGS, ROWS = ("NAME", "STATE", "KV USE"), [("w-1", "Running", "7%"), ("w-2", "Running", "9%")]


@pytest.mark.parametrize(
    ("width", "height", "lines"),
    [
        pytest.param(80, 24, columns(HEADINGS, ROWS), id="all-fits"),
        pytest.param(23, 3, columns(HEADINGS, ROWS), id="to-the-last-cell"),
        pytest.param(22, 24, ["NAME   STATE", "w-1    Running", "w-2    Running", "not shown: KV USE"], id="narrow"),
        pytest.param(80, 2, ["NAME   STATE     KV USE", "w-1    Running   7%", "not shown: 1 of 2 rows"], id="low"),
        pytest.param(3, 1, ["NAME", "w-1", "not"], id="hardly-a-screen"),
    ],
)
def test_a_screen_holds_what_fits_and_says_what_does_not(width: int, height: int, lines: list[str]) -> None:
    assert screenful(HEADINGS, ROWS, plain, width=width, height=height) == lines


@pytest.mark.parametrize(
    ("text", "style"),
    [("True", "green"), ("2/2", "green"), ("1/2", "yellow"), ("CrashLoopBackOff", "red"), ("anything", "")],
)
def test_status_words_have_their_colour(text: str, style: str) -> None:
    assert tone(text) == style
