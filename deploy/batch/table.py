"""Rows as a Parquet file."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from deploy.batch.job import Task
from deploy.batch.rows import COLUMNS


def schema(task: Task, width: int) -> pa.Schema:
    """Return the columns of a task's rows; `width` is the number of an embedding's values."""
    prediction = {"class_id": pa.int32(), "label": pa.string(), "score": pa.float32()}
    kinds = {"classify": pa.list_(pa.struct(prediction)), "embed": pa.list_(pa.float32(), width)}
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("model", pa.string(), nullable=False),
            pa.field("version", pa.string(), nullable=False),
            pa.field(COLUMNS[task], kinds[task]),
            pa.field("error_code", pa.string()),
            pa.field("error_detail", pa.string()),
        ]
    )


def to_parquet(
    rows: Sequence[Mapping[str, Any]], columns: pa.Schema, facts: Mapping[str, str]
) -> bytes:
    """Return a whole file; `facts` go into its metadata, each as `mixer.<name>`."""
    metadata = {f"mixer.{name}": value for name, value in facts.items()}
    table = pa.Table.from_pylist(list(rows), columns.with_metadata(metadata))
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
