"""Text files that are written whole or not at all."""

from pathlib import Path


def write_atomically(file: Path, content: str) -> None:
    """Write UTF-8 text; a reader, also after a failure, sees the old file or the whole new one."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.write_text(content, encoding="utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
