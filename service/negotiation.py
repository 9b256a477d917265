"""Which representation a client prefers, and whether it has it: RFC 9110 12.5.1 and 13.1.2."""

import re

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def preferred(accept: str, offered: tuple[str, ...]) -> str:
    """Return the offered media type of the highest quality in an Accept header.

    The first offered one wins ties, and answers a client that accepts none: no 406.
    """
    qualities: dict[str, float] = {}
    for entry in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in entry.split(";"))
        qualities[media_range] = _quality(parameters)

    def quality(media_type: str) -> float:
        ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")  # most specific first
        return next((qualities[each] for each in ranges if each in qualities), 0.0)

    return max(offered, key=quality)


def matches(if_none_match: str, etag: str) -> bool:
    """Tell whether an If-None-Match header holds this tag, by weak comparison."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or "*" in tags


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name == "q":
            return float(value) if _QUALITY.fullmatch(value) else 0.0
    return 1.0
