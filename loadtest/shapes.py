"""How many users there are at which moment; pure functions, so that they need no Locust."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """`users` until `until_s` seconds after the start."""

    until_s: float
    users: int


Shape = tuple[Stage, ...]


def ramp(users: int, duration_s: float) -> Shape:
    """Go from few to all in ten equal rises."""
    return tuple(Stage(duration_s * i / 10, -(-users * i // 10)) for i in range(1, 11))


def spike(users: int, duration_s: float) -> Shape:
    """Start with a fifth of the users; add all for a fifth of the time; go back."""
    few = -(-users // 5)
    return (
        Stage(duration_s * 0.4, few),
        Stage(duration_s * 0.6, users),
        Stage(duration_s, few),
    )


def soak(users: int, duration_s: float) -> Shape:
    """Keep the load, for leaks and drift."""
    return (Stage(duration_s, users),)


def steps(users: int, duration_s: float) -> Shape:
    """Double from one user to all: where goodput stops growing is saturation."""
    doublings = [2**i for i in range(users.bit_length()) if 2**i < users] + [users]
    each_s = duration_s / len(doublings)
    return tuple(Stage(each_s * (i + 1), count) for i, count in enumerate(doublings))


SHAPES: dict[str, Callable[[int, float], Shape]] = {
    "ramp": ramp,
    "spike": spike,
    "soak": soak,
    "steps": steps,
}


def users_at(shape: Shape, time_s: float) -> int | None:
    """Return how many users there are, or None after the end."""
    return next((stage.users for stage in shape if time_s < stage.until_s), None)
