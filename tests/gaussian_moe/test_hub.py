"""Saving and loading through huggingface_hub: the same model bit for bit, and faults that are told."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file, save_file
from torch import nn

import gaussian_moe
from gaussian_moe.hub import PretrainedMixin, TemporalMoE
from tests.gaussian_moe.support import stirred

ROOT = Path(__file__).parents[2]
QUESTION, FRAMES = torch.randn(2, 16), torch.randn(2, 9, 16)


def small(**arguments: Any) -> TemporalMoE:
    return stirred(TemporalMoE(16, 5, heads=4, **{"top_k": 2, **arguments}))


def assert_same(first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_what_is_loaded_is_what_was_saved(dtype: torch.dtype, tmp_path: Path) -> None:
    moe = small(num_streams=2, dropout=0.25, hidden_dim=12).to(dtype)
    moe.save_pretrained(tmp_path)
    loaded = TemporalMoE.from_pretrained(tmp_path)
    assert_same(loaded, moe)
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert torch.equal(loaded.router.slots, moe.router.slots)
    given = QUESTION.to(dtype), FRAMES.to(dtype)
    assert torch.equal(loaded(*given, streams=(given[1],) * 2), moe(*given, streams=(given[1],) * 2))
    # Once more, from the loaded one, into the same files.
    loaded.save_pretrained(tmp_path / "again")
    assert_same(TemporalMoE.from_pretrained(tmp_path / "again"), moe)
    for name in ("config.json", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_each_parameter_keeps_its_dtype(tmp_path: Path) -> None:
    moe = small().bfloat16()
    moe.norms.float()
    moe.save_pretrained(tmp_path)
    assert_same(TemporalMoE.from_pretrained(tmp_path), moe)
    assert {p.dtype for p in TemporalMoE.from_pretrained(tmp_path, dtype=torch.float16).parameters()} == {torch.float16}


@pytest.mark.slow
def test_in_a_fresh_process(tmp_path: Path) -> None:
    folders, results = [], []
    for dtype in (torch.float32, torch.bfloat16):
        moe, folder = small(backend="torch").to(dtype), tmp_path / str(dtype)
        moe.save_pretrained(folder)
        save_file({"question": QUESTION.to(dtype), "frames": FRAMES.to(dtype)}, folder / "inputs")
        folders.append(folder)
        results.append(moe(QUESTION.to(dtype), FRAMES.to(dtype)))
    script = (
        "import sys, torch\n"
        "from safetensors.torch import load_file, save_file\n"
        "from gaussian_moe.hub import TemporalMoE\n"
        "torch.set_num_threads(1)\n"
        "for folder in sys.argv[1:]:\n"
        "    moe = TemporalMoE.from_pretrained(folder)\n"
        "    moe.save_pretrained(folder + '/again')\n"
        "    save_file({'pooled': moe(**load_file(folder + '/inputs')).detach()}, folder + '/outputs')\n"
    )
    command = [sys.executable, "-c", script, *map(str, folders)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=120)
    for folder, pooled in zip(folders, results, strict=True):
        assert torch.equal(load_file(folder / "outputs")["pooled"], pooled)
        assert_same(TemporalMoE.from_pretrained(folder / "again"), TemporalMoE.from_pretrained(folder))


def test_every_argument_is_saved(tmp_path: Path) -> None:
    """Whatever arguments the layer has."""
    moe = small(device="cpu", dtype=torch.float32)
    moe.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert set(config) == set(inspect.signature(gaussian_moe.TemporalMoE).parameters) - {"device", "dtype"}
    assert (config["dim"], config["num_experts"], config["top_k"], config["heads"]) == (16, 5, 2, 4)
    assert copy.deepcopy(moe)._arguments() == moe._arguments()


def test_variants_come_back(tmp_path: Path) -> None:
    variant: dict[str, Any] = {"window": "box", "num_gaussians": 2, "learned_anchors": True, "max_std": 1 / 7}
    moe = small(**variant, temperature=0.5, activation="silu")
    moe.save_pretrained(tmp_path)
    again = TemporalMoE.from_pretrained(tmp_path)
    assert repr(again) == repr(moe)
    question, frames = torch.randn(2, 16), torch.randn(2, 9, 16)
    assert torch.equal(again(question, frames), moe.eval()(question, frames))


class Newer(gaussian_moe.TemporalMoE, PretrainedMixin):
    """A layer with more arguments."""

    def __init__(self, dim: int, *, shape: str = "round", warmth: float = 1.0, learned: bool = False) -> None:
        super().__init__(dim, 5, 2, heads=4)
        self.more = shape, warmth, learned


def test_arguments_to_come(tmp_path: Path) -> None:
    Newer(16, shape="flat", warmth=0.5, learned=True).save_pretrained(tmp_path)
    assert Newer.from_pretrained(tmp_path).more == ("flat", 0.5, True)
    assert Newer.from_pretrained(tmp_path, shape="thin").more == ("thin", 0.5, True)
    with pytest.raises(ValueError, match=r"holds learned, shape, warmth, which TemporalMoE does not take: .*newer"):
        TemporalMoE.from_pretrained(tmp_path)


def test_the_same_states_as_without_the_hub() -> None:
    plain = gaussian_moe.TemporalMoE(16, 5, 2, heads=4)
    moe = small()
    plain.load_state_dict(moe.state_dict())
    assert_same(plain, moe)
    assert repr(plain) == repr(moe)


def test_an_argument_that_json_cannot_hold(tmp_path: Path) -> None:
    moe = small(dropout=torch.tensor(0.2))
    with pytest.raises(ValueError, match=r"config\.json cannot hold dropout: give strings, numbers, bools or None"):
        moe.save_pretrained(tmp_path)


def test_the_model_card(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert (card.data.library_name, card.data.license) == ("gaussian-moe", "mit")
    assert "mixture-of-experts" in card.data.tags
    summary = "Question-aware Gaussian mixture of experts over time: pools a clip's frames as a question asks."
    for part in (
        summary,
        "arxiv.org/abs/2503.04459",
        "from gaussian_moe.hub import TemporalMoE",
        '\n  "num_experts": 5',
    ):
        assert part in card.text


def test_missing_files(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path / "saved")
    for name in ("config.json", "model.safetensors"):
        content = (tmp_path / "saved" / name).read_bytes()
        (tmp_path / "saved" / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"saved holds no {name}"):
            TemporalMoE.from_pretrained(tmp_path / "saved")
        (tmp_path / "saved" / name).write_bytes(content)
    for nowhere in (tmp_path / "nowhere", "./nowhere", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="is no folder, nor a repository"):
            TemporalMoE.from_pretrained(nowhere)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("{", "is no JSON"),
        ("[1]", r"must hold a JSON object of constructor arguments, got \[1\]"),
        ('{"num_experts": 5}', "lacks dim"),
        ('{"dim": 16, "heads": 3}', "dim must be divisible by heads"),
        ('{"dim": 16, "sparsity": 1}', "holds sparsity"),
        ('{"dim": 16, "num_experts": 6, "top_k": 2, "heads": 4}', "size mismatch for experts.weight1"),
        ('{"dim": 16, "num_experts": 5, "top_k": 2, "heads": 4, "num_streams": 2}', "Missing key.*norms.1.weight"),
    ],
)
def test_a_wrong_config(config: str, why: str, tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=f"(?s){why}"):
        TemporalMoE.from_pretrained(tmp_path)


def test_wrong_weights(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    save_file({**state, "stranger": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"(?s)does not fit TemporalMoE.*Unexpected key.*stranger"):
        TemporalMoE.from_pretrained(tmp_path)
    file.write_bytes(b"\x00" * 3)
    with pytest.raises(ValueError, match="is no safetensors file"):
        TemporalMoE.from_pretrained(tmp_path)


def test_a_file_without_versions_loads(tmp_path: Path) -> None:
    moe = small()
    moe.save_pretrained(tmp_path)
    save_file(moe.state_dict(), tmp_path / "model.safetensors")
    assert_same(TemporalMoE.from_pretrained(tmp_path), moe)


def test_push_to_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What would be uploaded is what loads; nothing is sent."""
    sent: list[dict[str, Any]] = []

    def create_repo(self: HfApi, repo_id: str, **options: Any) -> huggingface_hub.RepoUrl:
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self: HfApi, *, folder_path: Path, **options: Any) -> str:
        folder_path.rename(tmp_path / "repository")
        sent.append(options)
        return "done"

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    moe = small()
    assert moe.push_to_hub("somebody/moe", commit_message="First") == "done"
    assert (sent[0]["repo_id"], sent[0]["repo_type"], sent[0]["commit_message"]) == ("somebody/moe", "model", "First")
    assert 'TemporalMoE.from_pretrained("somebody/moe")' in (tmp_path / "repository" / "README.md").read_text()
    assert_same(TemporalMoE.from_pretrained(tmp_path / "repository"), moe)


@pytest.mark.parametrize(("given", "wanted"), [({}, "saved"), ({"repo_id": "somebody/moe"}, "somebody/moe")])
def test_what_is_saved_is_pushed_on_request(
    given: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To a repository of the folder's name, where none is told."""
    sent: list[str] = []
    monkeypatch.setattr(TemporalMoE, "push_to_hub", lambda self, repo_id, **options: sent.append(repo_id))
    moe = small()
    moe.save_pretrained(tmp_path / "saved", **given)
    assert not sent
    moe.save_pretrained(tmp_path / "saved", push_to_hub=True, **given)
    assert sent == [wanted]
    assert_same(TemporalMoE.from_pretrained(tmp_path / "saved"), moe)


def test_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    moe = small()
    moe.save_pretrained(tmp_path)
    asked: list[tuple[str, str | None]] = []

    def download(repo_id: str, filename: str, revision: str | None = None, **options: Any) -> str:
        asked.append((repo_id, revision))
        return str(tmp_path / filename)

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    monkeypatch.setattr("gaussian_moe.hub.hf_hub_download", download)
    assert_same(TemporalMoE.from_pretrained("somebody/moe", revision="v1"), moe)
    assert asked == [("somebody/moe", "v1")] * 2


def test_a_repository_without_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo_id: str, filename: str, **options: Any) -> str:
        # As of a page that is not there, whose answer is not needed here.
        raise HfHubHTTPError.__new__(HfHubHTTPError)

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    with pytest.raises(FileNotFoundError, match=r"somebody/moe holds no config\.json"):
        TemporalMoE.from_pretrained("somebody/moe")


@pytest.mark.parametrize("package", ["huggingface_hub", "safetensors"])
def test_without_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gaussian_moe.hub")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "gaussian-moe\[hub\]"'):
        importlib.import_module("gaussian_moe.hub")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a limit of files is set in a process of its own")
def test_a_full_disk_keeps_what_was_saved(tmp_path: Path) -> None:
    old, new = small(), small(top_k=3)
    old.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # As a full disk, without needing one: no file may be larger.
    for limit in (len(before["model.safetensors"]) // 2, 20):
        pid = os.fork()
        if pid == 0:
            code = 3
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                new.save_pretrained(tmp_path)
            except OSError:
                code = 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert_same(TemporalMoE.from_pretrained(tmp_path), old)
    new.save_pretrained(tmp_path)
    assert_same(TemporalMoE.from_pretrained(tmp_path), new)
    assert json.loads((tmp_path / "config.json").read_text())["top_k"] == 3


def test_other_users_may_read_it(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path / "model")
    (tmp_path / "any").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert modes == {(tmp_path / "any").stat().st_mode}


def test_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    (tmp_path / ".saving-old").mkdir()
    (tmp_path / ".saving-young").mkdir()
    os.utime(tmp_path / ".saving-old", (0, 0))
    small().save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.glob(".*")} == {".saving-young"}


def test_weights_never_stand_beside_another_models_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    real = Path.replace

    def cut_off(source: Path, target: Path) -> Path:
        if target.name == "config.json":
            raise OSError("the process ends here")
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_off)
        with pytest.raises(OSError, match="ends here"):
            small(top_k=3).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        TemporalMoE.from_pretrained(tmp_path)
    small(top_k=3).save_pretrained(tmp_path)
    assert TemporalMoE.from_pretrained(tmp_path).router.top_k == 3


def test_a_model_is_loaded_where_it_is_wanted(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    for where, wanted in (({}, "cpu"), ({"device": "meta"}, "meta"), ({"map_location": "meta"}, "meta")):
        model = TemporalMoE.from_pretrained(tmp_path, **where)
        assert {parameter.device.type for parameter in model.parameters()} == {wanted}
