"""The encoders of preset `paper` on tiny random weights: pictures, patches, sound, words, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from examples.avqa.encoders import Encoders, FeatureDims, load_encoders
from examples.avqa.encoders.merging_vit import PAPER_MERGES, MergingViT, ViTSize
from examples.avqa.encoders.paper import PUBLISHED_DIMS
from examples.avqa.encoders.pictures import middle
from examples.avqa.encoders.vit_weights import load_vit, merges_of, tokens_left
from examples.avqa.errors import UserError
from tests.examples.tiny_weights import END, PICTURE, START, VIT, write_weights

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture(scope="module")
def encoders(weights: Path) -> Encoders:
    return load_encoders("paper", weights, device="cpu")


def pictures(count: int, height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_the_published_sizes_are_known_without_any_weights() -> None:
    encoders = load_encoders("paper")
    assert encoders.dims == PUBLISHED_DIMS == FeatureDims(128, 768, (14, 1024), 768, 768)
    assert tokens_left(ViTSize()) == 14
    assert merges_of(ViTSize()) == PAPER_MERGES
    assert encoders.seconds == 60


def test_sizes_are_those_of_the_files(encoders: Encoders) -> None:
    assert encoders.dims == FeatureDims(audio=6, video=8, patches=(5, 16), question=8, words=12)
    assert tokens_left(VIT) == 5


def test_video_features_are_clips_projected_ones_not_normalised(encoders: Encoders, weights: Path) -> None:
    frames = pictures(20)
    video, patches = encoders.encode_video(iter(frames))
    assert video.shape == (20, 8)
    assert patches.shape == (20, 5, 16)
    # 40 × 60 becomes 28 × 42, of which the middle 28 columns stay.
    squares = [np.asarray(Image.fromarray(f).resize((42, PICTURE), Image.Resampling.BICUBIC))[:, 7:35] for f in frames]
    seen = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).double() / 255
    seen = (seen - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]
    whole = CLIPModel.from_pretrained(str(weights / "clip"))
    with torch.no_grad():
        wanted = whole.visual_projection(whole.vision_model(seen.float()).pooler_output)
    torch.testing.assert_close(video, wanted)
    assert (video.norm(dim=-1) - 1).abs().min() > 1e-3


def test_patches_are_those_of_the_middle_of_the_frame(encoders: Encoders, weights: Path) -> None:
    """The shortest side becomes 256/224 of the picture's, as the published script has it: 36 of 32 pixels here."""
    frames = pictures(2)
    state = load_file(weights / "vit" / "model.safetensors")
    vit = MergingViT(VIT, (25, 25, 0))
    vit.load_state_dict({name: value for name, value in state.items() if not name.startswith("head.")})
    squares = [np.asarray(Image.fromarray(f).resize((54, 36), Image.Resampling.BICUBIC))[2:34, 11:43] for f in frames]
    seen = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        tokens, _ = vit(seen)
    torch.testing.assert_close(encoders.encode_video(frames).patches, tokens)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (720, 1280), (90, 50), (7, 301)])
def test_the_middle_has_the_wanted_size(height: int, width: int) -> None:
    flat = np.full((height, width, 3), 99, dtype=np.uint8)
    assert np.array_equal(middle(flat, 32, 28), flat[:1, :1].repeat(28, 0).repeat(28, 1))


def test_frames_do_not_depend_on_their_neighbours(encoders: Encoders) -> None:
    """More frames than a batch."""
    frames = pictures(17)
    together = encoders.encode_video(frames)
    for number in (0, 15, 16):
        alone = encoders.encode_video(frames[number : number + 1])
        torch.testing.assert_close(together.video[number], alone.video[0])
        torch.testing.assert_close(together.patches[number], alone.patches[0])


def test_sound_has_one_row_a_second(encoders: Encoders) -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, (3, 16000)).astype(np.float32)
    audio = encoders.encode_audio(wave)
    assert audio.shape == (3, 6)
    assert bool((audio >= 0).all())
    assert bool(audio.any())
    torch.testing.assert_close(encoders.encode_audio(wave[1:2])[0], audio[1])


def test_words_are_all_77_hidden_states_with_zeros_behind_the_end(encoders: Encoders, weights: Path) -> None:
    texts = ["is it", "How many"]
    encoded = encoders.encode_text(texts)
    assert encoded.words.shape == (2, 77, 12)
    assert not encoded.padding_mask.any()
    vocabulary = json.loads((weights / "clip" / "vocab.json").read_text())
    # Capitals are small letters; words that the merges do not know are spelt.
    spelt = [[START, "is</w>", "i", "t</w>", END], [START, "h", "o", "w</w>", "m", "a", "n", "y</w>", END]]
    numbers = [[vocabulary[token] for token in tokens] for tokens in spelt]
    model = CLIPModel.from_pretrained(str(weights / "clip"))
    with torch.no_grad():
        for row, text in enumerate(numbers):
            tokens = torch.tensor([text + [0] * (77 - len(text))])
            hidden = model.text_model(input_ids=tokens).last_hidden_state
            torch.testing.assert_close(encoded.words[row], hidden[0])
            torch.testing.assert_close(encoded.question[row], model.text_projection(hidden[0, len(text) - 1]))


def test_a_long_text_keeps_its_end(encoders: Encoders) -> None:
    long, cut = encoders.encode_text(["is " * 200, "is " * 75]), encoders.encode_text(["is " * 75])
    torch.testing.assert_close(long.question[0], cut.question[0])
    torch.testing.assert_close(long.words[0], cut.words[0])
    shorter = encoders.encode_text(["is " * 74])
    assert not torch.allclose(shorter.question[0], cut.question[0])


def test_texts_do_not_depend_on_their_company(encoders: Encoders) -> None:
    texts = [f"is {'it ' * number}" for number in range(40)]
    together = encoders.encode_text(texts)
    alone = encoders.encode_text(texts[35:36])
    torch.testing.assert_close(together.words[35], alone.words[0])
    assert encoders.encode_text([]).words.shape == (0, 77, 12)


def test_other_weights_have_another_id(weights: Path, tmp_path: Path) -> None:
    first = load_encoders("paper", weights)
    with pytest.warns(UserWarning, match="not the published"):
        clips, texts = first.weights_id("clips"), first.weights_id("texts")
    assert clips != texts
    other = load_encoders("paper", write_weights(tmp_path / "w", seed=1))
    with pytest.warns(UserWarning, match="not the published"):
        others = other.weights_id("clips"), other.weights_id("texts")
    assert others[0] != clips
    assert others[1] != texts
    # A tokenizer's files come in several forms: what was encoded with one may be gone on with with another.
    tokenizer = next((tmp_path / "w" / "clip").glob("tokenizer.json"), tmp_path / "w" / "clip" / "vocab.json")
    tokenizer.write_text(tokenizer.read_text() + "\n")
    again = load_encoders("paper", tmp_path / "w")
    with pytest.warns(UserWarning, match="not the published"):
        assert (again.weights_id("clips"), again.weights_id("texts")) == others


def test_all_that_is_missing_is_named_at_once(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "vit").mkdir()
    for name in ("one.pth", "two.pth"):
        (tmp_path / "vit" / name).touch()
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "model.safetensors").touch()
    with pytest.raises(UserError) as told:
        load_encoders("paper", tmp_path).weights_id("clips")
    message = str(told.value)
    assert "clip/: no tokenizer" in message
    assert "vit/: more than one file of weights (one.pth, two.pth)" in message
    assert "vggish/: no such folder" in message
    assert "https://huggingface.co/openai/clip-vit-large-patch14-336" in message
    assert "\n" not in message
    with pytest.raises(UserError, match="no such folder"):
        load_encoders("paper", tmp_path / "none").weights_id("texts")
    with pytest.raises(UserError, match="preset small brings its own"):
        load_encoders("small", weights)
    with pytest.raises(UserError, match="device"):
        load_encoders("paper", weights, device="abacus")


def test_a_hub_out_of_reach_says_what_to_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"give --weights FOLDER with clip/: .* must hold config\.json, .*openai/clip"):
        load_encoders("paper").weights_id("texts")


def test_a_wrong_transformer_is_refused_by_name(weights: Path, tmp_path: Path) -> None:
    state = load_file(weights / "vit" / "model.safetensors")
    assert "head.weight" in state
    path = tmp_path / "vit.safetensors"
    for changed, said in (
        ({"fc_norm.weight": torch.zeros(16)}, r"fc_norm\.weight"),
        ({"blocks.1.norm1.bias": torch.zeros(7)}, r"blocks\.1\.norm1\.bias"),
        ({"patch_embed.proj.weight": torch.zeros(16, 3)}, "under timm's names"),
    ):
        save_file(state | changed, path)
        with pytest.raises(UserError, match=said):
            load_vit(path)
    path.write_bytes((weights / "vit" / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="cut off"):
        load_vit(path)
    torch.save(state, tmp_path / "vit.bin")
    assert torch.equal(load_vit(tmp_path / "vit.bin").pos_embed, state["pos_embed"])


def test_a_clip_with_missing_or_other_weights_is_refused(tmp_path: Path) -> None:
    folder = write_weights(tmp_path / "w")
    file = folder / "clip" / "model.safetensors"
    state = load_file(file)
    save_file(
        {name: value for name, value in state.items() if name != "visual_projection.weight"}, file, {"format": "pt"}
    )
    with pytest.raises(UserError, match=r"lacks 1 weights of CLIP, visual_projection\.weight"):
        load_encoders("paper", folder).encode_video(pictures(1))
    save_file(state | {"text_projection.weight": torch.zeros(3, 3)}, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"other shapes.*text_projection"):
        load_encoders("paper", folder).encode_text(["is"])
