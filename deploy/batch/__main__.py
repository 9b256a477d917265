"""Classify or embed every image beneath a folder or bucket: `python -m deploy.batch --help`.

Started again with the same options after any interruption, it computes what is missing.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any, get_args

from deploy.batch.job import SUCCESS_FILE, Asked, JobRefused, Task, begin, manifest_sha256, select
from deploy.batch.parts import Part, numbers_of, split
from model_store.bucket import Bucket
from model_store.errors import NotFound, StoreError
from model_store.store import ModelStore
from service.settings import InvalidSetting, Precision, Runtime, Settings, load_settings
from service.stores import BUILTIN_ROOT

TOP_K = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; return 0 done, 1 refused or failed, 2 wrong usage."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = _settings(options)
        _run(options, settings)
    except InvalidSetting as error:
        _tell(str(error))
        return 2
    except (JobRefused, StoreError) as error:
        _tell(str(error))
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m deploy.batch", description=__doc__)
    add = parser.add_argument
    add("--input", required=True, help="folder, s3:// or gs:// URL: every file beneath is an image")
    add("--output", required=True, help="folder or URL of this one job's Parquet parts")
    add("--task", choices=get_args(Task), required=True)
    add("--model", required=True, help="name, name@version or name@alias")
    add("--store", help="root of the model store (default: MIXER_STORE, else the embedded one)")
    add("--suffix", action="append", default=[], help="take only files that end so; repeatable")
    add("--top-k", type=_positive, help=f"classes a row (default {TOP_K}, or all of fewer)")
    add("--normalize", action="store_true", help="embeddings of length 1")
    add("--part-images", type=_positive, default=2000, help="images a file (default 2000)")
    add("--workers", type=_positive, default=1, help="processes with a model (default 1)")
    add("--worker-cpus", type=float, default=1.0, help="CPUs that Ray counts a worker (default 1)")
    add("--worker-gpus", type=float, default=0.0, help="GPUs a worker (default 0)")
    add("--ray-address", help="of a running cluster; `local`: Ray on this machine alone")
    add("--runtime", choices=("auto", *get_args(Runtime)), help="default: MIXER_RUNTIME, else auto")
    add("--precision", choices=get_args(Precision), help="default: MIXER_PRECISION, else float32")
    return parser


def _run(options: argparse.Namespace, settings: Settings) -> None:
    store = ModelStore(
        settings.store or str(BUILTIN_ROOT), cache_dir=settings.cache_dir.expanduser()
    )
    asked = _asked(options, settings, store)
    output = Bucket(options.output)
    source = Bucket(options.input)
    job, images = begin(output, asked, lambda: _files(source, asked.suffixes))
    parts = split(images, asked.part_images)
    missing = _missing(output, parts)
    _tell(f"{job.images} images in {len(parts)} parts, of which {len(missing)} are to compute")
    worker = {"asked": asked, "settings": settings, "store": store.root, "output": output.root}
    if missing:
        _compute(options, missing, worker)
    if left := _missing(output, parts):
        raise JobRefused(f"{len(left)} parts are not there: {output.root} was changed meanwhile")
    output.put(SUCCESS_FILE, b"")
    _tell(f"done: {output.root}")


def _compute(options: argparse.Namespace, parts: Sequence[Part], worker: dict[str, Any]) -> None:
    # Here, so that tests of all else need no Ray.
    from deploy.batch.cluster import Cluster, compute  # noqa: PLC0415

    cluster = Cluster(
        options.ray_address, options.workers, options.worker_cpus, options.worker_gpus
    )
    began_s, images, errors = time.monotonic(), 0, 0
    for count, done in enumerate(compute(cluster, parts, worker), start=1):
        images, errors = images + done.images, errors + done.errors
        rate = images / (time.monotonic() - began_s)
        _tell(
            f"{count} of {len(parts)} parts: part {done.number} in {done.seconds:.1f} s; "
            f"{images} images, {errors} errors, {rate:.0f} images/s with the start"
        )


def _asked(options: argparse.Namespace, settings: Settings, store: ModelStore) -> Asked:
    ref = store.resolve(options.model)
    classes = store.manifest(ref).architecture.num_classes
    return Asked(
        model=ref.model,
        version=ref.version,
        manifest_sha256=manifest_sha256(store, ref),
        input=Bucket(options.input).root,
        suffixes=tuple(options.suffix),
        task=options.task,
        top_k=_top_k(options, classes),
        normalize=options.normalize,
        precision=settings.precision_of(ref.model),
        decode_scaling=settings.decode_scaling,
        max_image_bytes=settings.max_body_bytes,
        max_image_pixels=settings.max_image_pixels,
        part_images=options.part_images,
    )


def _top_k(options: argparse.Namespace, classes: int) -> int | None:
    if options.task == "embed":
        if options.top_k is not None:
            raise JobRefused("--top-k is for --task classify")
        return None
    if options.normalize:
        raise JobRefused("--normalize is for --task embed")
    if not classes:
        raise JobRefused(f"{options.model} has no classes: use --task embed")
    wanted: int = options.top_k or min(TOP_K, classes)
    if wanted > classes:
        raise JobRefused(f"--top-k {wanted}: allowed is 1 to {classes}, the number of classes")
    return wanted


def _files(source: Bucket, suffixes: Sequence[str]) -> list[str]:
    try:
        return select(source.paths(), suffixes)
    except NotFound:  # a local folder
        return []


def _settings(options: argparse.Namespace) -> Settings:
    names = ("store", "runtime", "precision")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return load_settings({**given, "decode_threads": max(2, int(options.worker_cpus))})


def _missing(output: Bucket, parts: Sequence[Part]) -> list[Part]:
    there = numbers_of(output.paths())
    return [part for part in parts if part.number not in there]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return value


def _tell(text: str) -> None:
    print(f"batch: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
