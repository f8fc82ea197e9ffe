"""A model under Lightning: loss, optimizer, schedule, accuracy. B clips, Q questions of one clip, A answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from .config import ModelConfig, OptimizerConfig
from .data import NO_ANSWER, Batch
from .distributed import processes, summed, take_from_first
from .errors import UserError
from .models import build_model, run_model
from .outputs import AVQAOutput
from .question_mean import QuestionMean
from .sharding import shard
from .whitening import FeatureWhitening

KINDS = ("audio", "video", "patches", "question", "words")
LATER_OF_EQUALS = 1e-6
"""Added to the selection score per epoch, so that of two equal epochs the later is the best, as published."""


def averaged(features: Tensor, padding_mask: Tensor | None, seconds: int) -> Tensor:
    """Features [B, T, ...] averaged over each `seconds` frames that are not padding: [B, ceil(T / seconds), ...]."""
    if seconds == 1:
        return features
    B, T = features.shape[:2]
    missing = -T % seconds
    counted = features.new_ones(B, T) if padding_mask is None else (~padding_mask).to(features.dtype)
    counted = F.pad(counted, (0, missing)).view(B, -1, seconds)
    weights = counted / counted.sum(-1, keepdim=True).clamp(min=1)
    whole = torch.cat((features, features.new_zeros(B, missing, *features.shape[2:])), dim=1)
    return torch.einsum("bns,bns...->bn...", weights, whole.view(B, -1, seconds, *features.shape[2:]))


def mean_loss(
    logits: Tensor,  # [B, Q, A]
    answers: Tensor,  # [B, Q]
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy of the questions that count, 0 where none does, and their number."""
    logits, answers = logits.flatten(0, 1), answers.flatten()
    asked = (answers != NO_ANSWER).sum()
    # The mean over nothing would be NaN, in its gradients too: some answer stands in, and its loss is not counted.
    nothing = asked == 0
    loss = F.cross_entropy(
        logits, answers.masked_fill(nothing, 0), ignore_index=NO_ANSWER, label_smoothing=label_smoothing
    )
    return loss.masked_fill(nothing, 0.0), asked


class AVQAModule(LightningModule):
    """Trains a model with cross-entropy and measures its accuracy.

    Args:
        model: fields of `ModelConfig`.
        optimizer: fields of `OptimizerConfig`.
        feature_dims: channels of each of `KINDS` before whitening.
        answers: the vocabulary, in index order; saved with the model.
        encoder: preset of the features; saved with the model.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        feature_dims: Mapping[str, int],
        answers: Sequence[str],
        encoder: str,
    ) -> None:
        super().__init__()
        # Plain values only, so that a checkpoint loads without unpickling anything.
        self.save_hyperparameters()
        self.config = config = ModelConfig(**model)
        self.answers, self.encoder = list(answers), encoder
        self.feature_dims = dict(feature_dims)
        self.optimizer_config = OptimizerConfig(**{**optimizer, "betas": tuple(optimizer["betas"])})
        self.whitening = FeatureWhitening(feature_dims, config.whiten, config.feature_noise)
        self.model = build_model(config, self.whitening.dims, len(self.answers))
        self.accuracy = MulticlassAccuracy(len(self.answers), average="micro", ignore_index=NO_ANSWER)
        self.train_loss, self.val_loss = QuestionMean(), QuestionMean()

    def configure_model(self) -> None:
        """Under FSDP2 spreads the model over all processes; Lightning calls it before it makes the optimizer."""
        if self.device_mesh is not None:
            shard(self.model, self.device_mesh.device_type)

    @classmethod
    def from_configs(
        cls,
        model: ModelConfig,
        optimizer: OptimizerConfig,
        feature_dims: Mapping[str, int],
        answers: Sequence[str],
        encoder: str,
    ) -> AVQAModule:
        """Builds the module from typed configs."""
        plain = asdict(optimizer) | {"betas": list(optimizer.betas)}
        return cls(asdict(model), plain, dict(feature_dims), list(answers), encoder)

    def forward(self, batch: Batch) -> AVQAOutput:
        """Logits [B, Q, A] and routings.

        Raises:
            UserError: `released_expert_order` with several questions a clip, or with clips of different lengths.
        """
        single = self.config.released_expert_order
        if single and batch.question.shape[1] != 1:
            raise UserError("model.released_expert_order needs one question a clip: data.questions_per_clip 1")
        if single and batch.padding_mask is not None:
            raise UserError("model.released_expert_order needs clips of one length; leave it out, or cut the features")
        question, words, words_padding = batch.question, batch.words, batch.words_padding_mask
        if single:
            question, words, words_padding = question.squeeze(1), words.squeeze(1), words_padding.squeeze(1)
        seconds, padding = self.config.seconds_per_frame, batch.padding_mask
        whitened = {
            # Features may come in half precision: half to copy to a device.
            kind: self.whitening(kind, averaged(features.to(question.dtype), padding, seconds))
            for kind, features in (("audio", batch.audio), ("video", batch.video), ("patches", batch.patches))
        }
        ready = batch._replace(
            **whitened,
            question=self.whitening("question", question),
            words=self.whitening("words", words),
            words_padding_mask=words_padding,
            prompt=None if batch.prompt is None else self.whitening("question", batch.prompt),
            # A frame of the model is padding where all its seconds are, so where its first one is.
            padding_mask=None if padding is None else padding[:, ::seconds],
        )
        output = run_model(self.model, ready)
        return output._replace(logits=output.logits.unsqueeze(1)) if single else output

    def on_train_start(self) -> None:
        # Principal components have no sign of their own: machines of different kinds may find opposite ones.
        for buffer in self.whitening.buffers():
            take_from_first(buffer)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, asked = mean_loss(self(batch).logits, batch.answers, self.optimizer_config.label_smoothing)
        self.train_loss.update(loss.detach(), asked)
        self.log("train/loss", self.train_loss, prog_bar=True, on_epoch=True, on_step=False)
        count = processes()[1]
        # Lightning's strategies average gradients over processes, and each has another number of questions.
        return loss if count == 1 else loss * (count * asked / summed(asked))

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self(batch).logits
        self.accuracy.update(logits.flatten(0, 1), batch.answers.flatten())
        loss, asked = mean_loss(logits, batch.answers)
        self.val_loss.update(loss, asked)
        self.log("val/loss", self.val_loss)
        return loss

    def on_validation_epoch_end(self) -> None:
        accuracy = self.accuracy.compute()
        self.accuracy.reset()
        self.log("val/accuracy", accuracy, prog_bar=True)
        self.log("val/selection", accuracy + LATER_OF_EQUALS * self.current_epoch)

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """The places [n] of the questions and their probabilities [n, A]."""
        asked = batch.numbers >= 0
        probabilities = self(batch).logits.softmax(-1)
        return batch.numbers[asked], probabilities[asked]

    def configure_optimizers(self) -> Any:
        config = self.optimizer_config
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        per_epoch = max(steps // max(self.trainer.max_epochs or 1, 1), 1)

        def factor(step: int) -> float:
            rising = min((step + 1) / config.warmup_steps, 1.0) if config.warmup_steps else 1.0
            if config.schedule == "cosine":
                done = min(step / max(steps, 1), 1.0)
                return rising * 0.5 * (1 + math.cos(math.pi * done))
            return rising * config.gamma ** (step // per_epoch // config.step_epochs)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
