"""Every setting of the service: its default, its unit in the name, and a sentence why.

Read once at start from the environment (`MIXER_…`) and the command line; no other file reads the
environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.machine import SHARES_MEMORY, available_cores

Names = Annotated[tuple[str, ...], NoDecode]
Precision = Literal["float32", "bfloat16", "int8"]
Runtime = Literal["xla", "openvino"]
RuntimeSetting = Literal["auto"] | Runtime
Sizes = Annotated[tuple[int, ...], NoDecode]

MIB = 1024**2
_PRECISIONS = ", ".join(get_args(Precision))


class InvalidSetting(Exception):
    """A setting's value is not allowed; the message is one line naming it."""


class Settings(BaseSettings):
    """The frozen settings of one process."""

    model_config = SettingsConfigDict(env_prefix="MIXER_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0 lets the system choose one.")
    admin_host: str = Field("127.0.0.1", description="Address that the admin port listens on.")
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="TCP port of /metrics and POST /admin/reload, which then are not on the public "
        "one, and of the probes again; 0 lets the system choose. Unset: /metrics is public, and "
        "there are no admin actions.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File of the API keys, one a line, `key` or `name: key`, looked at again every "
        "second; /classify, /embed and /models then need one. Unset: anyone may ask.",
    )
    store: str | None = Field(
        None, description="Root of the model store, a path or s3:// or gs:// URL; unset: embedded."
    )
    cache_dir: Path = Field(
        Path("~/.cache/mixer"), description="Verified local copies of versions from remote stores."
    )
    models: Names = Field(
        ("cifar10-mixer",),
        description="Models to serve, comma separated: name, name@version or name@alias; looked up "
        "in the store, then among the embedded ones.",
    )
    store_poll_ms: int = Field(
        10_000,
        ge=0,
        description="Pause between two looks at the store for versions that configured references "
        "have moved to, loaded without a restart; a few small reads each. 0: never.",
    )
    default_model: str | None = Field(
        None, description="Name that answers when a request names none; unset: the first model."
    )
    frontends: int | None = Field(
        None,
        gt=0,
        description="Processes that answer HTTP and decode, before one more that owns the device; "
        "1: a single process does everything. Unset: one for every four cores.",
    )
    runtime: RuntimeSetting = Field(
        "auto",
        description="What computes: XLA (CPU, GPU, TPU) or OpenVINO (x86 CPU); auto takes the "
        "fastest here that reproduces the golden logits.",
    )
    precision: Names = Field(
        ("float32",),
        description="Type of the products, comma separated: one for all models, and name=TYPE for "
        "single ones. bfloat16 (activations as well) is faster where the hardware has it (with "
        "AMX 1.5 to 2.9 times, GPU, TPU); int8 (channel mixing alone, by OpenVINO) is twice as "
        "fast as float32 on CPUs with VNNI. Both deviate by about 1 % of the largest logit.",
    )
    buckets: Sizes = Field(
        (),
        description="Batch sizes compiled before ready, comma separated. Unset: 1, 2, 4, ... are "
        "measured, and those that are worth it are kept.",
    )
    max_batch_images: int = Field(
        64, gt=0, description="Largest batch that is tried where `buckets` is unset."
    )
    compile_cache_dir: Path | None = Field(
        Path("~/.cache/mixer/compiled"),
        description="Compiled programs and measured latencies, for faster starts; empty: none. "
        "Whoever can write there runs code in the service.",
    )
    max_queue_images: int = Field(
        256, gt=0, description="Images admitted and not yet answered per model; past it, 429."
    )
    decode_threads: int = Field(
        max(2, available_cores()),
        gt=0,
        description="Threads that decode and resize, off the event loops; several front ends share "
        "them out.",
    )
    max_body_bytes: int = Field(
        16 * MIB, gt=0, description="Largest request body; enforced while it streams in."
    )
    max_image_pixels: int = Field(
        50_000_000, gt=0, description="Largest image by its header, before a pixel is decoded."
    )
    decode_scaling: bool = Field(
        True,
        description="Decode large JPEGs at 1/2, 1/4 or 1/8 where that leaves four pixels a side "
        "for each one of the resized picture; an answer changes as little as by saving the photo "
        "once more at quality 95. Not with the area filter.",
    )
    max_images: int = Field(64, gt=0, description="Most images in one request.")
    default_timeout_ms: int = Field(
        30_000, gt=0, description="Deadline of requests that send no X-Request-Timeout-Ms."
    )
    url_allow: Names = Field(
        (), description="Host names that url= may fetch from, comma separated; empty: url= is off."
    )
    url_timeout_ms: int = Field(5_000, gt=0, description="Whole time that one URL fetch may take.")
    golden_tolerance: float = Field(
        1e-3,
        gt=0,
        description="Largest deviation of the golden logits, relative to the largest of them; "
        "float32 differs by about 1e-6 between machines, a wrong network by more than 0.1.",
    )
    reduced_precision_tolerance: float = Field(
        0.05, gt=0, description="The same for models that compute in bfloat16 or int8."
    )
    canary_interval_ms: int = Field(
        5_000, gt=0, description="An idle device computes a canary this often, for /livez."
    )
    canary_timeout_ms: int = Field(
        10_000, gt=0, description="A device silent for this long with work is dead: /livez fails."
    )
    keep_alive_ms: int = Field(
        75_000,
        gt=0,
        description="A connection that is idle for so long is closed, whole seconds rounded up. "
        "Longer than a proxy in front keeps one (60 s is usual): a request that crosses the close "
        "on the wire is lost.",
    )
    drain_delay_ms: int = Field(
        0,
        ge=0,
        description="After SIGTERM, time with readiness off and requests still accepted, so that "
        "load balancers notice before connections close.",
    )
    drain_timeout_ms: int = Field(
        30_000, gt=0, description="Longest wait for accepted requests at shutdown."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="info logs one line a request."
    )

    @field_validator("models", "url_allow", "buckets", "precision", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("admin_port", "api_keys_file", "compile_cache_dir", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("precision")
    @classmethod
    def _known_precisions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if entry.rpartition("=")[2] not in get_args(Precision):
                msg = f"must be {_PRECISIONS}, or name=float32 and such, not {entry!r}"
                raise ValueError(msg)
        return value

    @field_validator("buckets")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value and (value[0] < 1 or list(value) != sorted(set(value))):
            msg = "must be ascending positive batch sizes, such as 1,2,4,8"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if not self.models:
            msg = "models: name at least one model"
            raise ValueError(msg)
        if (self.frontends or 1) > 1 and not SHARES_MEMORY:
            msg = f"frontends {self.frontends}: more than 1 need Linux"
            raise ValueError(msg)
        if self.admin_port == self.port != 0:
            msg = f"admin_port {self.admin_port} is port: it must be another one, or unset"
            raise ValueError(msg)
        if self.runtime == "xla" and "int8" in self._precisions.values():
            msg = "runtime xla: precision int8 needs openvino, or auto, which then takes it"
            raise ValueError(msg)
        if self.max_images > self.max_queue_images:
            msg = f"max_images {self.max_images} is above max_queue_images {self.max_queue_images}"
            raise ValueError(msg)
        return self

    def precision_of(self, model: str) -> Precision:
        """Return the precision in which a model computes, given its name."""
        precisions = self._precisions
        return cast("Precision", precisions.get(model, precisions.get("", "float32")))

    @property
    def _precisions(self) -> dict[str, str]:
        """By the model's name; that of all others has no name."""
        return dict(entry.rpartition("=")[::2] for entry in self.precision)

    def tolerance(self, precision: Precision) -> float:
        """Return the largest deviation of the golden logits that is allowed in this precision."""
        if precision == "float32":
            return self.golden_tolerance
        return self.reduced_precision_tolerance


def load_settings(overrides: Mapping[str, Any]) -> Settings:
    """Read the environment; `overrides` (from the command line) win.

    Raises:
        InvalidSetting: a value is not allowed; the message names setting, value and rule.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise InvalidSetting(f"MIXER settings: {first['msg']}") from error
        name = environment_name(str(first["loc"][0]))
        raise InvalidSetting(f"{name}={first['input']!r}: {first['msg']}") from error


def environment_name(field: str) -> str:
    """Return the environment variable of a setting."""
    return f"MIXER_{field.upper()}"
