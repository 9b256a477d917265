import numpy as np

from bench.plain_loop import PlainLoop


def test_batches_are_full_and_of_all_files_in_turn() -> None:
    batches: list[list[int]] = []
    loop = PlainLoop(
        decode=lambda file: np.full((2, 3, 3), file[0], np.uint8),
        compute=lambda pixels_BxHxWx3: batches.append(pixels_BxHxWx3[:, 0, 0, 0].tolist()),
        batch=4,
        threads=2,
    )
    rate = loop.run([b"\0", b"\1", b"\2"], in_flight=5, duration_s=0.05)
    assert {len(batch) for batch in batches} == {4}
    taken = [number for batch in batches for number in batch]
    assert taken == [i % 3 for i in range(len(taken))]
    assert 0 < rate.images_per_s <= len(taken) / 0.05
    assert rate.cpu_ms > 0
