"""The parts that the drop-ins compare, on random input: plumbing, sizes and units."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from examples.dropins import grounding, top_frames, video_backbone
from examples.dropins.command import Contender
from examples.dropins.concerts import DURATION, INSTRUMENTS, Concerts, sample_scene
from examples.dropins.constant import constant_overlap
from examples.dropins.shapes import COLORS, Clip, draw_clip
from examples.dropins.training import DIM, Answerer, Questions, Split, parameters
from gaussian_moe import TemporalMoE, temporal_iou

FOLDER = Path(top_frames.__file__).parent
TIMES = torch.arange(30) + 0.5


def concerts(count: int) -> Concerts:
    """Random frames under real scenes: the questions are right, the sound is noise."""
    return Concerts([sample_scene(0, index) for index in range(count)], torch.randn(count, 30, 256))


def clips(lengths: list[int]) -> Split:
    """Random features of clips of several lengths."""
    count = len(lengths)
    numbers = torch.arange(count)
    questions = Questions(numbers, numbers % 3, 0 * numbers, numbers % len(COLORS), torch.zeros(count, 2))
    timing = {"times": (torch.arange(max(lengths)) / 4.0).expand(count, -1), "lengths": torch.tensor(lengths)}
    return Split(torch.randn(count, max(lengths), 64), timing, questions)


def of_sound() -> list[tuple[Contender, Split]]:
    heard, grounded = top_frames.ask(concerts(3)), grounding.ask(concerts(3))
    splits = {"val": grounded, "test": grounded}
    return [(row, heard) for row in top_frames.contenders(heard)] + [
        (row, grounded) for row in grounding.contenders(splits)
    ]


@pytest.mark.parametrize("name", ["top_frames", "video_backbone", "grounding"])
def test_a_drop_in_has_at_most_200_lines(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 200


def test_every_contender_answers_and_learns_and_reports_shares() -> None:
    seen = clips([9, 5, 1, 7])
    for row, split in [*of_sound(), *((row, seen) for row in video_backbone.contenders(seen))]:
        model = row.build()
        loss = row.loss(model, split.batch(torch.arange(len(split.questions.answers))))
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        unused = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
        assert unused == [], row.name
        model.eval()
        assert all(0 <= value <= 1 for value in row.measure(model).values()), row.name


def test_parts_that_are_compared_have_about_as_many_parameters() -> None:
    seen = clips([2, 1])
    sound = of_sound()
    groups = ([row for row, _ in sound[:4]], [row for row, _ in sound[4:]], video_backbone.contenders(seen))
    for rows in groups:
        sizes = [parameters(row.build().part) for row in rows]
        assert max(sizes) <= 1.02 * min(sizes)


def test_mean_pooling_and_the_mixture_ignore_the_padding() -> None:
    frames, lengths = torch.randn(2, 8, DIM), torch.tensor([8, 5])
    spoiled = frames.clone()
    spoiled[1, 5:] = 1e3
    question, times = torch.randn(2, DIM), torch.arange(8.0).expand(2, -1)
    for part in (video_backbone.MeanPooling(DIM), TemporalMoE(DIM, heads=4).eval()):
        torch.testing.assert_close(
            part(question, spoiled, times=times, lengths=lengths), part(question, frames, times=times, lengths=lengths)
        )


def test_top_frames_keeps_the_frames_that_the_question_attends_to_most() -> None:
    part = top_frames.TopFrames(DIM, count=3)
    with torch.no_grad():
        part.selection.in_proj_weight[: 2 * DIM] = torch.eye(DIM).repeat(2, 1)
    question = torch.zeros(1, DIM)
    question[..., ::16] = 1.0
    frames = torch.randn(1, 12, DIM)
    frames[..., ::16] = 0.0
    frames[0, [2, 7, 11], ::16] = 5.0
    changed = frames.clone()
    changed[0, [0, 1, 3, 10]] += torch.where(torch.arange(DIM) % 16 == 0, 0.0, 1.0)
    torch.testing.assert_close(part(question, changed), part(question, frames))
    changed[0, 7, 1] += 1.0
    assert not torch.equal(part(question, changed), part(question, frames))


def test_a_gaussians_span_is_in_the_seconds_of_the_frames() -> None:
    part = grounding.MaskedReading(DIM)
    with torch.no_grad():
        for layer in (part.router.gate, part.router.gaussian):
            layer.weight.zero_()
            layer.bias.zero_()
        part.router.gate.bias[5] = 9.0
    found = part.span(torch.randn(2, DIM), torch.randn(2, 30, DIM), 1.0, TIMES.expand(2, -1))
    center, std = 5.5 / 7, 0.5 / 9
    torch.testing.assert_close(found.start, torch.full((2,), 0.5 + 29 * (center - std)))
    torch.testing.assert_close(found.end, torch.full((2,), 0.5 + 29 * (center + std)))


def test_attentions_span_is_cut_around_its_peak() -> None:
    class Known(grounding.Reading):
        def scores(self, question: Tensor, frames: Tensor) -> Tensor:
            weights = torch.full((1, 4, 30), 1e-3)
            weights[..., 10:15] = 1.0
            return weights.log()

    found = Known(DIM).span(torch.randn(1, DIM), torch.randn(1, 30, DIM), 0.5, TIMES.expand(1, -1))
    # The cut is half way between a frame inside and one outside: frames 10 to 14 stand at 10.5 to 14.5 s.
    assert float(found.start) == pytest.approx(10.0, abs=0.02)
    assert float(found.end) == pytest.approx(15.0, abs=0.02)


def test_gaussians_are_drawn_to_the_attention_and_not_it_to_them() -> None:
    part, question, frames = grounding.MaskedReading(DIM), torch.randn(1, DIM), torch.randn(1, 30, DIM)
    pooled, apart = part.masked(question, frames, TIMES.expand(1, -1))
    assert pooled.shape == (1, DIM)
    assert apart.shape == ()
    apart.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert part.router.gaussian.weight.grad is not None
    # The attention is the aim and does not come to the Gaussians.
    assert part.query.weight.grad is None


def test_a_scenes_players_take_turns_within_the_concert() -> None:
    for index in range(50):
        players = sample_scene(1, index).players
        ends = [0.0, *(player.segments[0][1] for player in players)]
        assert all(player.onset >= end for player, end in zip(players, ends, strict=False))
        assert ends[-1] <= DURATION
        assert 2 <= len({player.instrument for player in players}) == len(players) <= 4


def test_questions_about_concerts_have_the_scenes_answers() -> None:
    heard = concerts(4)
    split = top_frames.ask(heard)
    for clip, kind, subject, answer in zip(*(column.tolist() for column in split.questions[:4]), strict=True):
        players = heard.scenes[clip].players
        if kind == 2:
            moment = top_frames.MOMENTS[subject - 1]
            playing = [player for player in players if player.segments[0][0] <= moment < player.segments[0][1]]
        else:
            playing = [min(players, key=lambda player: player.onset if kind == 0 else -player.onset)]
        assert [INSTRUMENTS.index(player.instrument) for player in playing] == [answer]
    grounded = grounding.ask(heard).questions
    assert len(grounded.answers) == sum(2 + len(scene.players) for scene in heard.scenes)
    for clip, subject, span in zip(
        grounded.clips.tolist(), grounded.subjects.tolist(), grounded.spans.tolist(), strict=True
    ):
        if subject:
            (player,) = (p for p in heard.scenes[clip].players if p.instrument == INSTRUMENTS[subject - 1])
            assert span == pytest.approx(player.segments[0])


def test_a_backbones_time_steps_are_tubelets() -> None:
    backbone = video_backbone.load_backbone(None)
    clip = draw_clip(0, 0)
    for count in (32, 33, 47, 48, 49):
        features, times = video_backbone.clip_features(
            backbone, Clip(clip.frames[:1].repeat(count, 1, 1, 1), 8.0, clip.colors)
        )
        steps = (count + 1) // 2
        assert features.shape == (steps, 64)
        torch.testing.assert_close(times, (torch.arange(steps) * 2 + 0.5) / 8)


def test_a_backbones_windows_do_not_see_each_other() -> None:
    backbone = video_backbone.load_backbone(None)
    frames = draw_clip(0, 1).frames[:32]
    changed = frames.clone()
    changed[16:] = 0.0
    (one, _), (other, _) = (video_backbone.clip_features(backbone, Clip(x, 4.0, (0, 1, 2))) for x in (frames, changed))
    torch.testing.assert_close(one[:8], other[:8])
    assert not torch.allclose(one[8:], other[8:])


def test_a_constant_span_is_the_best_one_of_its_kind() -> None:
    spans = torch.tensor([[0.0, 4.0], [1.0, 4.0], [20.0, 25.0]])
    kinds, none = torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.int64)
    questions = Questions(none, kinds, none, none, spans)
    best = temporal_iou((torch.tensor(0.0), torch.tensor(4.0)), (spans[:2, 0], spans[:2, 1])).sum()
    assert constant_overlap(questions, questions) == pytest.approx((float(best) + 1) / 3)


def test_the_model_around_a_part_knows_times_only_if_told() -> None:
    heard = top_frames.ask(concerts(1))
    split = heard.batch(torch.arange(len(heard.questions.answers)))
    late = split._replace(timing={"times": split.timing["times"] + 7})
    for coded in (False, True):
        torch.manual_seed(0)
        model = Answerer(top_frames.TopFrames(DIM, 10), 256, 3, 6, 8, coded).eval()
        assert torch.equal(model(split), model(late)) is not coded


def test_the_mask_lets_a_tenth_through_where_no_gaussian_is() -> None:
    """Even attention under one narrow Gaussian: frames far from it weigh FLOOR against 1 + FLOOR at its center."""
    part = grounding.MaskedReading(DIM)
    with torch.no_grad():
        for layer in (part.router.gate, part.router.gaussian, part.query):
            layer.weight.zero_()
            layer.bias.zero_()
        part.router.gate.bias[3] = 50.0
        part.router.gaussian.bias[1::2] = -9.0
    seen: list[Tensor] = []

    def keep(scores: Tensor, frames: Tensor) -> Tensor:
        seen.append(scores.softmax(-1))
        return torch.zeros(1, DIM)

    part.read = keep  # type: ignore[method-assign]
    part(torch.randn(1, DIM), torch.randn(1, 31, DIM), times=torch.arange(31.0)[None])
    weights = seen[0][0, 0]
    assert int(weights.argmax()) == 15
    assert (weights[0] / weights[15]).item() == pytest.approx(grounding.FLOOR / (1 + grounding.FLOOR), rel=1e-5)
