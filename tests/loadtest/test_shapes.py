import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.shapes import SHAPES, Shape, ramp, spike, steps, users_at

counts = st.integers(1, 500)
durations = st.floats(1, 1e5)


def levels(shape: Shape) -> list[int]:
    return [stage.users for stage in shape]


@pytest.mark.parametrize("name", SHAPES)
@given(counts, durations)
def test_a_shape_fills_its_time_and_reaches_its_users(
    name: str, users: int, duration_s: float
) -> None:
    shape = SHAPES[name](users, duration_s)
    ends_s = [stage.until_s for stage in shape]
    assert ends_s == sorted(set(ends_s))
    assert ends_s[-1] == pytest.approx(duration_s)
    assert max(levels(shape)) == users
    assert min(levels(shape)) >= 1


@given(counts, durations)
def test_a_ramp_never_falls(users: int, duration_s: float) -> None:
    assert levels(ramp(users, duration_s)) == sorted(levels(ramp(users, duration_s)))


@given(st.integers(2, 500), durations)
def test_a_spike_returns_to_where_it_began(users: int, duration_s: float) -> None:
    before, during, after = levels(spike(users, duration_s))
    assert before == after < during


def test_steps_double() -> None:
    assert levels(steps(20, 60)) == [1, 2, 4, 8, 16, 20]
    assert levels(steps(8, 60)) == [1, 2, 4, 8]
    assert levels(steps(1, 60)) == [1]
    assert [stage.until_s for stage in steps(8, 60)] == [15, 30, 45, 60]


@given(counts, durations, st.floats(0, 1))
def test_there_are_users_until_the_end(users: int, duration_s: float, share: float) -> None:
    shape = ramp(users, duration_s)
    found = users_at(shape, share * shape[-1].until_s * 0.999)
    assert found is not None
    assert 1 <= found <= users
    assert users_at(shape, shape[-1].until_s) is None
