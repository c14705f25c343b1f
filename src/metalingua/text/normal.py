"""When two texts count as the same one."""

import re
import unicodedata
from hashlib import blake2b

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Runs of letters and digits after NFKC and case folding."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normal_form(text: str) -> str:
    """Letters and digits alone, after NFKC and case folding: equal forms are one text to the leakage gate."""
    return "".join(words(text))


def position(text: str) -> float:
    """A fixed place for the text in 0 .. 1, uniform over texts: equal normal forms have equal places."""
    return int.from_bytes(blake2b(normal_form(text).encode(), digest_size=8).digest(), "big") / 2**64
