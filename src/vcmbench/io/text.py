"""Names and messages as they can be shown: on a terminal, in a page, in a line of their own."""

from __future__ import annotations

import unicodedata


def visible(text: object) -> str:
    """A name as it can be shown: what controls, turns or breaks text is written out as its escape.

    Control characters are no HTML and no XML, lone surrogates (names of files that are no UTF-8) no UTF-8, and
    characters that change the direction of writing would make a name look like another.
    """
    return "".join(_spelled(letter) if _is_odd(letter) else letter for letter in str(text))


def _is_odd(letter: str) -> bool:
    if letter in "\n\t":
        return False
    category = unicodedata.category(letter)
    return category in ("Cc", "Cs", "Cn", "Zl", "Zp") or (category == "Cf" and letter not in "\u00ad\u200c\u200d")


def _spelled(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def lines(message: object) -> str:
    """A message as it is printed. Its first line is whole: a line break from a name inside is written out, those that
    the message has itself are followed by spaces."""
    parts = visible(message).split("\n")
    return parts[0] + "".join(f"\n{part}" if part.startswith("  ") else f"\\n{part}" for part in parts[1:])
