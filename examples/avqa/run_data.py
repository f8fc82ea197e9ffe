"""What a run was made with: its `DataConfig`, and whether features of now fit its model."""

from __future__ import annotations

from pathlib import Path

from .config import DataConfig
from .encoders import Encoders
from .errors import UserError
from .fit import SETTINGS, load_settings
from .module import AVQAModule
from .prepare import feature_dims
from .typed import from_plain


def load_data_config(run: Path) -> DataConfig:
    """The `DataConfig` that a run was made with.

    Raises:
        UserError: the folder is no run.
    """
    try:
        return from_plain(DataConfig, load_settings(run)["data"])
    except TypeError as error:
        raise UserError(f"{run / SETTINGS} is of another version of this program ({error}); train again") from error


def check_widths(
    module: AVQAModule, encoders: Encoders, run: Path, weights: Path | None, constant: bool = False
) -> None:
    """Compares the channels that a run's model reads with those that it is to be given.

    Args:
        module: the run's model.
        encoders: what encodes.
        run: the run, for messages.
        weights: folder of the encoders' weights, for messages.
        constant: whether constant features stand in for those of clips.

    Raises:
        UserError: they differ.
    """
    given = feature_dims(encoders.dims, constant)
    if module.feature_dims == given:
        return
    clips = ("audio", "video", "patches")
    if not constant and all(module.feature_dims[kind] == 1 for kind in clips):
        raise UserError(f"features: {run} was trained without features and knows no video; name another run")
    if constant and any(module.feature_dims[kind] != 1 for kind in clips):
        raise UserError(f"features: {run} was trained with features; name them with --features FOLDER")
    widths = module.feature_dims.items()
    told = [f"{kind} of {width} channels, not {given[kind]}" for kind, width in widths if given[kind] != width]
    source = f"those in {weights}" if weights else f"those of preset {encoders.name}"
    raise UserError(
        f"weights: {run} was trained with other weights than {source}: it reads {', '.join(told)}; "
        f"name the folder of its weights as data.weights in {run / SETTINGS}, or as --weights of answer"
    )
