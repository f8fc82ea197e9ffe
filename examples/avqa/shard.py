"""Which part of the work is this process's, where several share it: by an option, torchrun or SLURM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from .errors import UserError

T = TypeVar("T")

# torchrun comes first: SLURM may have started it. SLURM's number of tasks is the step's: a script that `sbatch` runs is
# alone, whatever the job asked for.
_LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "SLURM": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
}
"""Names of rank, how many, rank on this machine, how many on this machine."""


class Shard(NamedTuple):
    """One of `size` parts, by default all."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    """How many of the processes that share the work run on this machine."""
    source: str = ""
    """Who said so, for messages."""

    def of(self, whole: Sequence[T]) -> list[T]:
        """This part: every `size`-th, so that parts are equally long."""
        return list(whole[self.rank :: self.size])


def find_shard(option: str | None, environment: Mapping[str, str]) -> Shard:
    """The shard that `option` names, else the launcher's, else everything.

    Args:
        option: "I/N", the part I of N, counted from 0.
        environment: environment variables.

    Raises:
        UserError: the option is none, or there is no such part.
    """
    if option is not None:
        named = re.fullmatch(r"(\d+)/(\d+)", option)
        if named is None or int(named[1]) >= int(named[2]):
            raise UserError(f"shard is {option!r}; give I/N, the part I of N counted from 0, such as 0/4 ... 3/4")
        return Shard(int(named[1]), int(named[2]), source="--shard")
    for launcher, names in _LAUNCHERS.items():
        rank, size, local_rank, local_size = (_number(environment.get(name)) for name in names)
        if rank is None or size is None or size < 2:
            continue
        if launcher == "SLURM":
            local_size = _tasks_here(environment) or local_size
        # Where only the first two are told, this process has its machine for itself.
        local_rank = local_rank or 0
        return Shard(rank, size, local_rank, max(local_size or 1, local_rank + 1), launcher)
    return Shard()


def _tasks_here(environment: Mapping[str, str]) -> int | None:
    """How many of a step's tasks run on this machine: of "2(x3),1" machines 0 to 2 have two, machine 3 has one."""
    node = _number(environment.get("SLURM_NODEID"))
    counts: list[int] = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if found is None:
            return None
        counts += [int(found[1])] * int(found[2] or 1)
    return counts[node] if node is not None and node < len(counts) else None


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() else None
