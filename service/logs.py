"""The log of the process: one line for each request, on stderr, at the least cost."""

import logging
import time


class LineFormatter(logging.Formatter):
    """`2026-01-31 12:00:00,250 INFO mixer.request …`, in local time, computed once a second."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._second, self._text = -1, ""

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802
        """Return the line's time to the millisecond."""
        second = int(record.created)
        if second != self._second:
            self._text = time.strftime(self.default_time_format, time.localtime(second))
            self._second = second
        return f"{self._text},{int(record.msecs):03d}"


def begin(level: str) -> None:
    """Write to stderr what is of this level or above (`debug` to `error`)."""
    lines = logging.StreamHandler()
    lines.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[lines])
    # What no line shows need not be looked up for each (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    # These warn of every malformed body, and tell of every kind of device that is not there.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.getLogger("jax").setLevel(logging.WARNING)
