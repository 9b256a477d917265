"""Write the golden files of `tests/model_store/golden`: `python -m tests.parity.make_golden`.

For a tiny patch-16 and a tiny patch-32 Mixer: timm's weights, and two images with timm's logits and
pooled features under both GELUs. Their metadata, and a README beside them, state the origin.
"""

from pathlib import Path

import numpy as np
import safetensors.numpy

from model_store.variants import MixerConfig
from tests.parity.timm_mixers import VERSIONS, save_timm, timm_mixer, timm_outputs

FOLDER = Path(__file__).parents[1] / "model_store" / "golden"

# All dimensions of one network differ, so that no transposition goes unseen.
CONFIGS = {
    "mixer_p16": MixerConfig(
        image_size=48,
        patch_size=16,
        width=10,
        depth=3,
        token_mlp_width=7,
        channel_mlp_width=25,
        num_classes=6,
    ),
    "mixer_p32": MixerConfig(
        image_size=64,
        patch_size=32,
        width=8,
        depth=2,
        token_mlp_width=6,
        channel_mlp_width=20,
        num_classes=5,
    ),
}

README = """# Golden files: timm's Mixer on random weights

Made by `python -m tests.parity.make_golden` with {versions}, float32 on a CPU.

- `*.timm.safetensors`: the state dict of timm's `MlpMixer`, random in every tensor (seed 0).
- `*.expected.safetensors`: two random images (uint8, mapped to v / 127.5 - 1), and timm's logits
  and pooled features for them with the tanh and with the erf GELU.

`tests/model_store/test_parity_golden.py` reads them; `make parity` compares with timm itself.
"""


def main() -> None:
    """Write every file anew; the same versions on the same machine give the same bytes."""
    versions = ", ".join(f"{name} {version}" for name, version in VERSIONS.items())
    origin = {"made_by": "python -m tests.parity.make_golden", "versions": versions, "seed": "0"}
    for name, config in CONFIGS.items():
        _write(name, config, origin)
    (FOLDER / "README.md").write_text(README.format(versions=versions))


def _write(name: str, config: MixerConfig, origin: dict[str, str]) -> None:
    model = timm_mixer(config, seed=0)
    save_timm(model, FOLDER / f"{name}.timm.safetensors", origin)
    size = config.image_size
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), np.uint8)
    expected = {"images": images}
    for gelu in ("tanh", "erf"):
        outputs = timm_outputs(model, (images / 127.5 - 1).astype(np.float32), gelu)
        expected |= {f"{key}_{gelu}": value for key, value in outputs.items()}
    path = FOLDER / f"{name}.expected.safetensors"
    path.write_bytes(safetensors.numpy.save(expected, origin))


if __name__ == "__main__":
    main()
