"""Data sets and a Mixer so small that a training step takes a millisecond."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from trainer import command
from trainer.config import AugmentConfig, DataConfig, OptimiserConfig, TrainConfig
from trainer.data.sheets import SHEET_COLUMNS

CLASSES = ("blue", "green", "red")
TRAIN_PER_CLASS, TEST_PER_CLASS = 10, 4

MODEL = MixerConfig(
    image_size=8,
    patch_size=4,
    width=6,
    depth=2,
    token_mlp_width=5,
    channel_mlp_width=10,
    num_classes=len(CLASSES),
)

# The CIFAR-10 recipe, Muon, mixup, accumulation and stochastic depth with it, for MODEL:
# 45 steps.
TINY_RECIPE = (
    "cifar10",
    *("--model.image-size", "8", "--model.width", "6", "--model.depth", "2"),
    *("--model.token-mlp-width", "5", "--model.channel-mlp-width", "10"),
    *("--model.num-classes", "3"),
    *("--preprocessing.resize-size", "8", "--preprocessing.crop-size", "8"),
    *("--batch-size", "8", "--microbatch-size", "4", "--epochs", "12"),
    *("--optimiser.warmup-steps", "5", "--seed", "7"),
    *("--augment.mixup", "0.1", "--augment.closing-share", "0.25", "--stochastic-depth", "0.05"),
    *("--checkpoint-every-steps", "4", "--evaluate-every-epochs", "12"),
)
RECIPE_STEPS = 45


def tiny_config(root: Path, data: Path = Path("no data")) -> TrainConfig:
    """Return settings of a run without any randomness but the order of the pictures."""
    return TrainConfig(
        model=MODEL,
        preprocessing=Preprocessing(resize="squash", resize_size=8, crop_size=8),
        data=DataConfig(path=data),
        augment=AugmentConfig(crop_min_area=1.0, flip=False),
        optimiser=OptimiserConfig(learning_rate=0.02, warmup_steps=2),
        epochs=20,
        batch_size=8,
        run_dir=root / "run",
    )


def draw_pictures(label: int, count: int, *, side: int = 8, seed: int = 0) -> np.ndarray:
    """Return noise uint8 [count, side, side, 3] that is brighter in the channel of its class."""
    rng = np.random.default_rng((seed, label))
    pixels = rng.integers(0, 120, (count, side, side, 3), dtype=np.uint8)
    pixels[..., 2 - label] += 100
    return pixels


def write_class_folders(root: Path) -> Path:
    """Write a data set of CLASSES as PNG files."""
    for split, count in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            pictures = draw_pictures(label, count, seed=len(split))
            for i, pixels in enumerate(pictures):
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def write_sheet(file: Path, tiles_NxSxSx3: np.ndarray) -> None:
    """Write tiles, a multiple of 40, as one sheet, row after row."""
    count, side = tiles_NxSxSx3.shape[:2]
    rows = count // SHEET_COLUMNS
    grid = tiles_NxSxSx3.reshape(rows, SHEET_COLUMNS, side, side, 3).swapaxes(1, 2)
    sheet = grid.reshape(rows * side, SHEET_COLUMNS * side, 3)
    Image.fromarray(sheet).save(file, lossless=True)


def write_sheet_pack(root: Path) -> Path:
    """Write two training sheets of 40 and 80 tiles, and one test sheet, with their labels."""
    root.mkdir()
    tiles = draw_pictures(0, 120)
    write_sheet(root / "train_00.webp", tiles[:40])
    write_sheet(root / "train_01.webp", tiles[40:])
    write_sheet(root / "test_00.webp", draw_pictures(1, 40))
    np.savez(root / "labels.npz", y_train=np.arange(120) % 3, y_test=np.arange(40) % 3)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return root


@contextmanager
def command_line(*arguments: str) -> Iterator[None]:
    """Let `trainer.train.main` see these arguments, and leave this process as it was."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.getsignal(number) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["trainer/train.py", *arguments])
        patch.setattr(command, "keep_freed_memory", lambda: True)
        try:
            yield
        finally:
            for number, handler in zip(numbers, handlers, strict=True):
                signal.signal(number, handler)
