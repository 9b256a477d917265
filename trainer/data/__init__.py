"""Data sets on disk, and the deterministic, resumable pipeline that turns them into batches.

Four layouts are read, each by the module that describes it: `folders`, `sheets`, `arrays` and
`array_records`.
"""

from trainer.data.bad_data import BadData, DataError
from trainer.data.dataset import DataSet
from trainer.data.pictures import ArrayPictures, FilePictures, Pictures
from trainer.data.pipeline import TrainingBatches, evaluation_batches, training_batches
from trainer.data.splits import Split, load_dataset

__all__ = [
    "ArrayPictures",
    "BadData",
    "DataError",
    "DataSet",
    "FilePictures",
    "Pictures",
    "Split",
    "TrainingBatches",
    "evaluation_batches",
    "load_dataset",
    "training_batches",
]
