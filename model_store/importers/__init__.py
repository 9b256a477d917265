"""Readers (and writers) of the weight files that other projects publish."""

from typing import Literal

Format = Literal["npz", "timm"]
