"""The preset `paper`: QA-TIGER's and TSPM's features, CLIP ViT-L/14@336, a token-merging ViT-L/16-384 and VGGish.

T frames, n texts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import UserError
from .base import EncodedText, EncodedVideo, Encoders, FeatureDims, Modality, Purpose
from .pictures import middle, normalised
from .weights import Part, find_weights, fingerprint

if TYPE_CHECKING:
    from .clip import ClipPictures, ClipWords
    from .merging_vit import MergingViT
    from .vggish import VGGish

PUBLISHED_DIMS = FeatureDims(audio=128, video=768, patches=(14, 1024), question=768, words=768)
SECONDS = 60

_PARTS: Mapping[Purpose, tuple[Part, ...]] = {"clips": ("clip", "vit", "vggish"), "texts": ("clip",)}
# The shortest side before the middle is cut out, over the picture's: as TSPM extracted its patches.
_VIT_MARGIN = (256, 224)
_BATCH = 16


class PaperEncoders(Encoders):
    """CLIP ViT-L/14@336 for pictures and words, ViT-L/16-384 with token merging for patches, VGGish for sound.

    Everything is computed in float32, on GPUs too, without TF32: tokens merge by comparing cosines that are nearly
    equal, so that coarser rounding would merge others, and a clip is encoded once.

    A folder of weights holds what is needed of
      - clip/: config.json, model.safetensors (or pytorch_model.bin), and tokenizer.json (or vocab.json and merges.txt)
        of huggingface.co/openai/clip-vit-large-patch14-336; questions need this part alone;
      - vit/: model.safetensors of huggingface.co/timm/vit_large_patch16_384.augreg_in21k_ft_in1k;
      - vggish/: vggish-10086976.pth of github.com/harritaylor/torchvggish.
    Sizes are those of the files, so that smaller models of the same kinds work alike.

    Args:
        weights: the folder; None takes the hub's, from its cache where they are.
        device: "cpu", "cuda:1" ...; "auto" is a GPU if there is one.

    Raises:
        UserError: a file in the folder is none of its kind, or there is no such device.
    """

    name = "paper"
    folders: Mapping[Modality, str] = {
        "audio": "vggish",
        "video": "frame_ViT-L14@336px",
        "patches": "visual_tome14",
    }
    frame_size: tuple[int, int] | None = None
    seconds: int | None = SECONDS
    on_gpu = True
    # Hidden states after a LayerNorm lose nothing that matters, and a data set has gigabytes of them.
    words_dtype = torch.float16

    def __init__(self, weights: Path | None = None, device: str = "auto") -> None:
        self._folder = weights
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        try:
            self._device = torch.device(chosen)
        except RuntimeError as error:
            raise UserError(f"device: {device!r} is none; give cpu, cuda or cuda:1") from error
        self._found: dict[Part, list[Path]] = {}
        self.weights_at_hand = weights is not None

    @cached_property
    def dims(self) -> FeatureDims:  # type: ignore[override]  # read from files when first asked for
        """Widths as the weights' files have them; the published ones where a part is not there."""
        if self._folder is None:
            return PUBLISHED_DIMS
        from .clip import clip_widths
        from .state_file import read_state
        from .vggish import vggish_size
        from .vit_weights import tokens_left, vit_size

        dims = PUBLISHED_DIMS
        if not self._folder.is_dir():
            raise UserError(f"weights: no such folder: {self._folder}")
        if (self._folder / "clip" / "config.json").is_file():
            projected, words = clip_widths(self._folder / "clip")
            dims = dims._replace(video=projected, question=projected, words=words)
        if (self._folder / "vit").is_dir():
            path = self._path("vit")
            size = vit_size(read_state(path), path)
            dims = dims._replace(patches=(tokens_left(size), size.dim))
        if (self._folder / "vggish").is_dir():
            dims = dims._replace(audio=vggish_size(read_state(self._path("vggish"))).out)
        return dims

    def weights_id(self, purpose: Purpose) -> str:
        """Finds the weights; warns where their sizes are not the published ones.

        Raises:
            UserError: weights are missing; all of them are named.
        """
        self._found |= find_weights(self._folder, _PARTS[purpose])
        if self.dims != PUBLISHED_DIMS:
            warnings.warn(
                f"weights: {self._folder} gives {self.dims}, not the published {PUBLISHED_DIMS}", stacklevel=2
            )
        # The weights alone: tokenizers come in several forms of the same.
        return fingerprint(self._found[part][0] for part in _PARTS[purpose])

    def encode_video(self, frames: Iterable[npt.NDArray[np.uint8]]) -> EncodedVideo:
        """Encodes T frames [H, W, 3] to video [T, 768] and patches [T, 14, 1024]."""
        size = self._vit.size.picture
        shortest = _VIT_MARGIN[0] * size // _VIT_MARGIN[1]
        video: list[Tensor] = []
        patches: list[Tensor] = []
        # Only what the towers see is kept of a batch, never 60 whole frames of full HD (373 MB).
        pairs = ((self._clip.prepare(frame), middle(frame, shortest, size)) for frame in frames)
        with torch.no_grad(), _exact():
            while batch := list(islice(pairs, _BATCH)):
                video.append(self._clip([picture for picture, _ in batch]).cpu())
                halves = (0.5,) * 3
                tokens, _ = self._vit(normalised([picture for _, picture in batch], halves, halves, self._device))
                patches.append(tokens.cpu())
        return EncodedVideo(torch.cat(video), torch.cat(patches))

    def encode_audio(self, waveform: npt.NDArray[np.float32]) -> Tensor:
        """Encodes seconds of sound [T, 16000] to [T, 128]."""
        from .vggish import log_mel_examples

        with torch.no_grad(), _exact():
            encoded: Tensor = self._vggish(log_mel_examples(torch.from_numpy(waveform)).to(self._device))
        return encoded.cpu()

    def encode_text(self, texts: Sequence[str]) -> EncodedText:
        """Encodes n texts to question [n, 768], words [n, 77, 768], and a padding mask that is nowhere True."""
        with _exact():
            encoded: EncodedText = self._words(texts)
        return encoded

    # Each is imported and read when first used: extraction needs no text tower, training no other.
    @cached_property
    def _clip(self) -> ClipPictures:
        from .clip import ClipPictures

        return ClipPictures(self._path("clip").parent, self._device)

    @cached_property
    def _words(self) -> ClipWords:
        from .clip import ClipWords

        return ClipWords(self._path("clip").parent, self._device)

    @cached_property
    def _vit(self) -> MergingViT:
        from .vit_weights import load_vit

        return load_vit(self._path("vit")).to(self._device)

    @cached_property
    def _vggish(self) -> VGGish:
        from .vggish import load_vggish

        return load_vggish(self._path("vggish")).to(self._device)

    def _path(self, part: Part) -> Path:
        if part not in self._found:
            self._found |= find_weights(self._folder, (part,))
        return self._found[part][0]


@contextmanager
def _exact() -> Iterator[None]:
    """Convolutions of cuDNN in float32 proper, by the same algorithm every time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
