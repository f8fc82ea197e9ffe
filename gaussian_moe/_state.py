"""State dicts that say their version."""

from __future__ import annotations

from typing import Any

from torch import nn

from ._version import __version__


class VersionedModule(nn.Module):
    """A module that refuses a state dict of a version that it does not know.

    PyTorch saves `_version` beside each module's tensors. A layer whose names or shapes change gets the next one, and
    turns older states into its own in `_load_from_state_dict`. A state without versions counts as one that it knows.
    """

    _version = 1

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        found = local_metadata.get("version", 1)
        if found > self._version:
            name = f" ({prefix.removesuffix('.')})" if prefix else ""
            raise ValueError(
                f"the state dict holds {type(self).__name__}{name} of version {found}, and gaussian-moe {__version__} "
                f"knows versions up to {self._version}; update gaussian-moe"
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
