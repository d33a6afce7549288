"""What may name a conversation."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 1024


def check_conversation_id(conversation: str) -> None:
    """Raise ValueError unless the id is 1 to 1,024 bytes of UTF-8 without U+0000."""
    size = utf8_size("conversation id", conversation)
    if not 1 <= size <= MAX_BYTES:
        raise ValueError(f"a conversation id has 1 to {MAX_BYTES} bytes of UTF-8, not {size}")


def utf8_size(name: str, text: str) -> int:
    """The size of a text in bytes; ValueError, which calls it `name`, if Postgres can't hold it."""
    if "\0" in text:
        raise ValueError(f"{name} {text[:80]!r} contains U+0000")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} {text[:80]!r} is not valid Unicode: {error.reason}") from error
