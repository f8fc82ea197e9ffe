"""QA-TIGER that can be saved to a folder or to the Hugging Face Hub, and loaded from there."""

from __future__ import annotations

from gaussian_moe.hub import PretrainedMixin

from . import model


class QATiger(
    model.QATiger, PretrainedMixin, pipeline_tag="visual-question-answering", tags=["video-question-answering"]
):
    """QA-TIGER: answers questions about a clip from features of its sound, frames and patches.

    `examples.avqa.model.QATiger` with `save_pretrained`, `from_pretrained` and `push_to_hub`; arguments, results and
    state dict are the same. Features, whitening and the order of the answers belong to a run and are not saved here:
    tell them in `model_card_kwargs={"details": ...}`.

    Examples:
        >>> import tempfile, torch
        >>> from examples.avqa.hub import QATiger
        >>> model = QATiger(audio_dim=8, video_dim=24, patch_dim=20, dim=16, num_answers=42)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = model.save_pretrained(folder)
        ...     same = QATiger.from_pretrained(folder)
        >>> torch.equal(same.head.weight, model.head.weight)
        True
    """
