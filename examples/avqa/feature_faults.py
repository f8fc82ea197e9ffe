"""What can be wrong with features, found from their headers alone: the same for folders and packed stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from tqdm import tqdm

from .encoders.base import FeatureDims, Modality
from .errors import UserError
from .first_few import first_few

FaultKind = Literal["missing", "broken", "shape", "frames", "values"]
FAULT_KINDS: tuple[FaultKind, ...] = ("missing", "broken", "shape", "frames", "values")


class Fault(NamedTuple):
    """One thing that is wrong with one clip."""

    video_id: str
    modality: Modality | None
    """None where the modalities disagree, or the clip's index is broken."""
    kind: FaultKind
    message: str
    """Names the file, or the clip."""


class Header(NamedTuple):
    """One modality of one clip, its values unread."""

    where: str
    """What messages call it: the file."""
    shape: tuple[int, ...] | None
    """None where the file is missing or broken."""
    fault: tuple[FaultKind, str] | None = None


class ClipHeaders(NamedTuple):
    """All that is known of one clip, its values unread."""

    modalities: Mapping[Modality, Header]
    real: int | None = None
    """How many frames an index calls real; None where there is no index."""
    index_fault: str | None = None


class Headers(Protocol):
    """Where headers come from: a feature folder or a packed store."""

    def headers(self, video_id: str) -> ClipHeaders:
        """What is known of one clip."""


def widths(dims: FeatureDims) -> dict[Modality, tuple[int, ...]]:
    """The shape of one frame of each modality."""
    return {"audio": (dims.audio,), "video": (dims.video,), "patches": tuple(dims.patches)}


def clip_faults(video_id: str, clip: ClipHeaders, dims: FeatureDims) -> list[Fault]:
    """Every fault of one clip.

    Args:
        video_id: the clip, for messages.
        clip: what was found.
        dims: the features that are wanted.
    """
    faults: list[Fault] = []
    lengths: dict[Modality, int] = {}
    for modality, width in widths(dims).items():
        header = clip.modalities[modality]
        fault = header.fault
        if header.shape is not None:
            lengths[modality] = header.shape[0]
            if header.shape[1:] != width:
                wanted = ", ".join(map(str, ("T", *width)))
                fault = "shape", f"shape {list(header.shape)}, expected [{wanted}]"
        if fault is not None:
            faults.append(Fault(video_id, modality, fault[0], f"{header.where}: {fault[1]}"))
    if clip.index_fault is not None:
        faults.append(Fault(video_id, None, "broken", clip.index_fault))
    frames = frames_fault(lengths, clip.real)
    if frames is not None:
        faults.append(Fault(video_id, None, "frames", f"{video_id}: {frames}"))
    return faults


def frames_fault(lengths: Mapping[Modality, int], real: int | None) -> str | None:
    """What is wrong with a clip's numbers of frames; `real` of them are no padding, by its index."""
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{frames} {modality}" for modality, frames in lengths.items())
        return f"different numbers of frames: {told}"
    held = max(lengths.values(), default=1)
    if held < 1:
        return "no frame at all"
    if lengths and real is not None and not 1 <= real <= held:
        return f"the index tells {real} frames, the files hold {held}"
    return None


def all_faults(source: Headers, video_ids: Iterable[str], dims: FeatureDims) -> list[Fault]:
    """Every fault of every clip, with a progress bar; no value is read."""
    faults: list[Fault] = []
    for video_id in tqdm(sorted(set(video_ids)), desc="checking features", unit="video", delay=2):
        faults += clip_faults(video_id, source.headers(video_id), dims)
    return faults


def refuse(faults: Sequence[Fault], root: Path, mend: str) -> None:
    """Raises UserError where there are faults: the first few, how many more, and how to mend them."""
    if faults:
        named = "; ".join(first_few([fault.message for fault in faults]))
        raise UserError(f"features in {root} cannot be used: {named}; {mend}")
