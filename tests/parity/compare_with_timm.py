"""Compare our forward pass with timm's: `python -m tests.parity.compare_with_timm`.

Mixer-S/16 and S/32 at 224 pixels, random values in every parameter, float32 at the highest
precision. Exits with 1 if equal GELUs differ by more than 1e-5 of the largest output, or if unequal
ones do not: then the switch would do nothing.
"""

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from model_store.importers.imported import Gelu
from model_store.variants import variant_config
from tests.model_store.tiny import random_images
from tests.parity.timm_mixers import (
    VERSIONS,
    Outputs,
    our_outputs,
    save_timm,
    timm_mixer,
    timm_outputs,
)

TOLERANCE = 1e-5  # rounding gives 5e-7, and the other GELU 1e-4
GELUS = get_args(Gelu)


def main() -> int:
    """Print one line for each variant and pair of GELUs; return the exit status."""
    print(", ".join(f"{name} {version}" for name, version in VERSIONS.items()))
    print(f"{'variant':8}{'timm':6}{'ours':6}{'logits':>10}{'embedding':>11}")
    failures = sum(_compare(name) for name in ("S/16", "S/32"))
    print("FAILED" if failures else f"agreement within {TOLERANCE:g}")
    return min(failures, 1)


def _compare(variant: str) -> int:
    config = variant_config(variant, num_classes=10)
    images_BxHxWx3 = random_images(config, batch=2)
    model = timm_mixer(config, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixer.safetensors"
        save_timm(model, path)
        theirs = {gelu: timm_outputs(model, images_BxHxWx3, gelu) for gelu in GELUS}
        ours = {gelu: our_outputs(path, images_BxHxWx3, gelu) for gelu in GELUS}
    return sum(
        _report(variant, (timm, our), ours[our], theirs[timm])
        for timm, our in product(GELUS, repeat=2)
    )


def _report(variant: str, gelus: tuple[Gelu, Gelu], found: Outputs, wanted: Outputs) -> bool:
    """Print the relative errors; return whether they are not as the two GELUs demand."""
    errors = {name: _relative_error(found[name], wanted[name]) for name in wanted}
    same = gelus[0] == gelus[1]
    failed = any((error < TOLERANCE) != same for error in errors.values())
    print(
        f"{variant:8}{gelus[0]:6}{gelus[1]:6}{errors['logits']:10.1e}{errors['embedding']:11.1e}"
        f"{'' if same else '  (must differ)'}{'  FAILED' if failed else ''}"
    )
    return failed


def _relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


if __name__ == "__main__":
    sys.exit(main())
