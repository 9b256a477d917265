"""What to do about data that cannot be used: name it, count it, and stop when it is too much."""

import logging
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


class DataError(Exception):
    """The data set is not what it must be; the message names the file or folder."""


@dataclass
class BadData:
    """The bad images, labels and classes of one data set, each logged and counted once."""

    limit: int = 0
    """How many are tolerated."""
    found: set[str] = field(default_factory=set)

    def report(self, message: str) -> None:
        """Count what the message names, unless it was counted before.

        Raises:
            DataError: it is one too many.
        """
        if message in self.found:
            return
        self.found.add(message)
        self.check(message, len(self.found))
        logger.warning("%s (bad data: %d, allowed: %d)", message, len(self.found), self.limit)

    def check(self, message: str, count: int) -> None:
        """Refuse `count` bad things, of which the message names one.

        Raises:
            DataError: there are more than are tolerated.
        """
        if count > self.limit:
            text = f"{message} (bad data: {count}; data.max_bad_share allows {self.limit})"
            raise DataError(text)
