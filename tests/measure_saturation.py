"""Measure the mean batch of an imported Mixer under 64 concurrent clients.

    python -m tests.measure_saturation [VARIANT]

Writes a random VARIANT (default S/16) at 224 pixels in the authors' npz layout, imports it beside
the embedded model, serves both, and sends pictures of mixed formats and sizes from 64 clients at
once. Prints the mean batch and the largest difference to the answer that the same picture gets
alone; exits 1 on an error, a difference above 1e-3, or a mean batch of 4 or less.
"""

import io
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from model_store.cli import main as store_command
from model_store.importers.npz import write_npz
from model_store.variants import variant_config
from tests.model_store.tiny import random_arrays
from tests.service.live import server_process

CLIENTS, REQUESTS_EACH = 64, 4
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def pictures() -> list[bytes]:
    """Draw ten noisy gradients, two of each format, all of different sizes."""
    rng = np.random.default_rng(0)
    return [_picture(rng, FORMATS[i % 5], (60 + 41 * i, 330 - 23 * i)) for i in range(10)]


def _picture(rng: np.random.Generator, file_format: str, size: tuple[int, int]) -> bytes:
    ramp = np.linspace(0, 200, size[0])[None, :, None]
    noise = rng.integers(0, 56, (size[1], size[0], 3))
    buffer = io.BytesIO()
    Image.fromarray((ramp + noise).astype(np.uint8)).save(buffer, file_format)
    return buffer.getvalue()


def embed(client: httpx.Client, model: str, image: bytes) -> np.ndarray:
    """Return the embedding of one picture, float32 [C]."""
    answer = client.post(
        "/embed",
        params={"model": model},
        content=image,
        headers={"Accept": "application/octet-stream"},
    )
    answer.raise_for_status()
    return np.frombuffer(answer.content, "<f4")


def saturate(url: str, model: str, images: list[bytes], alone: list[np.ndarray]) -> float:
    """Ask from all clients at once; return the largest difference to the answers given alone."""
    differences: list[float] = []
    together = threading.Barrier(CLIENTS)

    def ask(first: int) -> None:
        with httpx.Client(base_url=url, timeout=300) as client:
            together.wait()
            for i in range(first, first + REQUESTS_EACH):
                found = embed(client, model, images[i % len(images)])
                differences.append(float(np.abs(found - alone[i % len(images)]).max()))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(differences) if len(differences) == CLIENTS * REQUESTS_EACH else float("inf")


def batches(client: httpx.Client, model: str) -> tuple[float, float]:
    """Return the number of batches and of images in them, from the metrics."""
    values = dict(
        line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#"
    )
    labels = f'{{model="{model}",version="1"}}'
    return tuple(float(values[f"mixer_batch_images_{kind}{labels}"]) for kind in ("count", "sum"))  # type: ignore[return-value]


def main(variant: str = "S/16") -> int:
    """Run the measurement; return its exit code."""
    model = f"mixer-{variant.replace('/', '').lower()}"
    config = variant_config(variant, num_classes=1000)
    with tempfile.TemporaryDirectory() as folder:
        file, store = Path(folder) / f"{model}.npz", str(Path(folder) / "store")
        write_npz(file, random_arrays(config))
        if store_command(["import", "npz", str(file), "--name", model, "--root", store]):
            return 1
        settings = {"store": store, "models": f"cifar10-mixer,{model}"}
        began_s = time.monotonic()
        with (
            server_process(Path(folder) / "log", **settings) as (_, url),
            httpx.Client(base_url=url, timeout=300) as client,
        ):
            print(f"ready after {time.monotonic() - began_s:.0f} s")
            images = pictures()
            alone = [embed(client, model, image) for image in images]
            before = batches(client, model)
            difference = saturate(url, model, images, alone)
            count, total = (b - a for a, b in zip(before, batches(client, model), strict=True))
    print(f"{model}: {total:.0f} images in {count:.0f} batches, mean batch {total / count:.1f}")
    print(f"largest difference to the answer given alone: {difference:.1e}")
    return 0 if total / count > 4 and difference < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
