from pathlib import Path

import numpy as np
import pytest

from bench.networks import architecture, model_name, random_weights
from model_store.parameters import check_parameters
from tests.model_store.tiny import TINY


def test_weights_fit_and_are_random_everywhere() -> None:
    arrays = random_weights(TINY)
    check_parameters(TINY, arrays)
    assert all(np.count_nonzero(array) == array.size for array in arrays.values())
    again, other = random_weights(TINY), random_weights(TINY, seed=1)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    assert not np.array_equal(arrays["stem/kernel"], other["stem/kernel"])


def test_architectures_are_those_of_table_1() -> None:
    assert architecture("S/32").parameter_count == pytest.approx(19.1e6, rel=0.01)
    assert Path(model_name("S/32")).name == "mixer-s32"
    with pytest.raises(ValueError, match="unknown Mixer variant 'S/3'"):
        architecture("S/3")
