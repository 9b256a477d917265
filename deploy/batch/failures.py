"""What a failed worker says in one line."""

import re

_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*: .*", re.MULTILINE)


def reason(traceback: str) -> str:
    r"""Return the exception at the end of a worker's traceback, beneath those that Ray adds.

    >>> reason("Traceback:\n  File …\nmine.Error: no\n\nray.exceptions.RayError: failed")
    'mine.Error: no'
    """
    named = _EXCEPTION.findall(traceback)
    own = [each for each in named if not each.startswith("ray.")]
    return str((own or named or traceback.strip().splitlines())[-1])
