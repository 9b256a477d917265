import pytest

from bench.gpu import main, mfu, peak_flop_per_s
from tests.model_store.tiny import TINY


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("cpu", None),
    ],
)
def test_the_peak_is_that_of_the_kind(kind: str, peak: float | None) -> None:
    assert peak_flop_per_s(kind) == peak


def test_mfu_is_the_share_of_the_peak() -> None:
    flops = TINY.forward_cost.flops
    assert mfu(TINY, images_per_s=50.0, peak=200.0 * flops) == pytest.approx(0.25)


def test_without_a_gpu_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert (
        capsys.readouterr().out
        == "bench.gpu: jax sees no GPU here, so there is nothing to measure\n"
    )
