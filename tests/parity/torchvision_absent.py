"""A stand-in for torchvision, so that timm can be imported without it.

`import timm` reads torchvision's data sets, augmentations and one norm layer, none of which a Mixer
uses; torchvision itself has no build beside the CPU torch. Every name here is a class that says so
when it is called: a comparison that touched torchvision would fail, and never pass on a fake.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _AbsentType(type):
    def __getattr__(cls, name: str) -> str:
        """Members of its enums, which timm uses as keys of tables."""
        return f"{cls.__name__}.{name}"

    def __call__(cls, *args: object, **kwargs: object) -> object:
        msg = f"{cls.__name__} is part of torchvision, which is absent here"
        raise RuntimeError(msg)


class _AbsentModule(ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _AbsentType(name, (), {})


class _Finder(MetaPathFinder, Loader):
    """Finds `torchvision` and every module below it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "torchvision":
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


def install() -> None:
    """Put the stand-in in place, unless the real torchvision is installed."""
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.append(_Finder())
