"""The paper's studies at small scale.

    python -m trainer.studies data-size --data.path <folder> --out docs/studies

Started again with the same settings, a study trains only what is missing.
"""

import sys

import tyro

from trainer.command import run_command
from trainer.studies.data_size import DataSizeStudy
from trainer.studies.overfitting import OverfittingStudy
from trainer.studies.permutation import PermutationStudy
from trainer.studies.run import run_study
from trainer.studies.study import Study
from trainer.studies.variants import VariantsStudy

STUDIES: dict[str, tuple[str, Study]] = {
    "data-size": ("Mixer, ResNet and ViT on nested subsets", DataSizeStudy()),
    "permutation": ("Mixer and ResNet on permuted images", PermutationStudy()),
    "variants": ("untied, grouped and pyramid Mixers", VariantsStudy()),
    "overfitting": ("Mixer and ViT on few images, small and larger", OverfittingStudy()),
}


def main() -> int:
    """Run the command line; return its exit code."""
    study = tyro.extras.overridable_config_cli(STUDIES)
    return run_command(lambda console: run_study(study, console))


if __name__ == "__main__":
    sys.exit(main())
