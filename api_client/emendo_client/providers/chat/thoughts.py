"""The thoughts that reasoning models write before their answer. Drafts in them are no answer."""

from __future__ import annotations

import re

# The names in tags around thoughts, as in <think>…</think>.
_NAMES = "(?:seed:|ant)?(?:think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad|inner_monologue)"
_TAG = re.compile(
    rf"(?P<begin><{_NAMES}(?:\s[^<>]{{0,80}})?>|\[THINK\]|◁think▷|<unused94>|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|channel\|>(?:analysis|thought)\b)"
    rf"|(?P<end></{_NAMES}\s*>|\[/THINK\]|◁/think▷|<unused95>|<\|end_of_thought\|>|<\|END_THINKING\|>)"
    # These end a thought and other things: some models end every answer with <|end|>.
    r"|(?P<end_of_message><\|end\|>|<\|start\|>|<\|channel\|>(?:final|commentary)\b)",
    re.IGNORECASE,
)


def without_thoughts(text: str) -> str:
    """The text without thoughts: those in tags, what stands before a lone end tag, what follows a lone begin tag."""
    kept: list[str] = []
    is_thought = False
    at = 0
    for tag in _TAG.finditer(text):
        if tag["begin"]:
            if not is_thought:
                kept.append(text[at : tag.start()])
            is_thought = True
        elif is_thought:
            is_thought = False
            at = tag.end()
        elif tag["end"]:
            kept.clear()
            at = tag.end()
    return "".join(kept if is_thought else [*kept, text[at:]])


def has_thoughts(text: str) -> bool:
    """True if a thought begins in the text."""
    return any(tag["begin"] for tag in _TAG.finditer(text))
