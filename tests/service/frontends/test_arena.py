"""Slots never overlap, and both processes see the same bytes however the memory grows."""

import os
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.frontends.arena import Arena, Mapping, Slot

# Sizes of several images, to be given back when a later number says so.
Story = list[tuple[int, bool]]
stories = st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=30)


def other_side(arena: Arena) -> Mapping:
    return Mapping(os.dup(arena.descriptor))


@given(stories)
def test_what_is_taken_overlaps_nothing_that_is_taken(story: Story) -> None:
    arena, held = Arena(), list[Slot]()
    for size, gives_back in story:
        slot = arena.take(size)
        assert slot.size_bytes >= size
        held.append(slot)
        if gives_back:
            arena.give_back(held.pop(len(held) // 2))
    for first, second in pairwise(sorted(held, key=lambda slot: slot.offset)):
        assert first.offset + first.size_bytes <= second.offset
    arena.close()


@given(stories)
def test_both_sides_see_the_same_bytes(story: Story) -> None:
    arena = Arena()
    engine = other_side(arena)
    arrays = []
    for value, (size, _) in enumerate(story):
        slot = arena.take(size)
        ours = arena.array(slot.offset, (size,), np.uint8)
        ours[:] = value
        arrays.append((ours, engine.array(slot.offset, (size,), np.uint8)))
    for value, (ours, theirs) in enumerate(arrays):
        assert (theirs == value).all()
        theirs[:] = value + 100
        assert (ours == value + 100).all()
    arena.close()
    engine.close()


def test_a_slot_is_used_again() -> None:
    arena = Arena()
    first = arena.take(5_000)
    arena.give_back(first)
    assert arena.take(5_001) == first
    assert arena.take(5_001) != first
    arena.close()


def test_an_answer_lies_where_its_image_lay() -> None:
    arena = Arena()
    engine = other_side(arena)
    slot = arena.take(2 * 3 * 3)
    arena.array(slot.offset, (2, 3, 3), np.uint8)[:] = np.arange(18).reshape(2, 3, 3)
    image_HxWx3 = engine.array(slot.offset, (2, 3, 3), np.uint8)
    assert image_HxWx3.tolist() == np.arange(18).reshape(2, 3, 3).tolist()
    engine.array(slot.offset, (4,), np.float32)[:] = (0.5, -1.0, 2.0, 3.25)
    assert arena.array(slot.offset, (4,), np.float32).tolist() == [0.5, -1.0, 2.0, 3.25]
    arena.close()
    engine.close()


def test_arrays_outlive_the_mapping() -> None:
    arena = Arena()
    slot = arena.take(4)
    array = arena.array(slot.offset, (4,), np.uint8)
    arena.close()
    array[:] = 7
    assert array.tolist() == [7, 7, 7, 7]
