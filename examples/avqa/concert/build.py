"""The `concert` command: the whole data set, rendered by several processes, resumable."""

from __future__ import annotations

import json
from pathlib import Path

from tqdm import tqdm

from examples.avqa.errors import UserError
from examples.avqa.files import sweep_temporaries
from examples.avqa.json_text import decoded
from examples.avqa.locks import only_here
from examples.avqa.processes import cores, each_done

from .annotate import write_annotations
from .pictures import NUM_DRAWINGS
from .render import render_concert
from .sample import SPLITS, sample_scenes
from .scene import INSTRUMENTS, Scene
from .settings import ConcertSettings
from .sound import PROGRAMS

SETTINGS = "settings.json"


def concert(
    out: Path,
    train: int = 2000,
    val: int = 100,
    test: int = 300,
    duration: float = 30.0,
    seed: int = 713,
    workers: int | None = None,
) -> None:
    """Render short concerts as .mp4 files, with questions in MUSIC-AVQA's own format.

    Writes videos/, train.json, val.json, test.json, answer2idx.json, scenes.json and settings.json into `out`. The
    same command again resumes.

    Args:
        out: folder of the data set.
        train: concerts to train on.
        val: concerts that choose the best epoch.
        test: concerts that are reported; some with drawings and sounds that no other split has.
        duration: length of a concert in seconds.
        seed: of everything random.
        workers: processes; by default one a core.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}")
    settings = ConcertSettings(train=train, val=val, test=test, duration=duration, seed=seed)
    with only_here(out, "renders into"):
        _check_folder(out, settings)
        scenes = _scenes(settings)
        write_annotations(out, scenes, settings)
        _render_all(scenes, out / "videos", workers)
    print(
        f"{len(scenes)} concerts in {out / 'videos'}\n"
        f"Next: python -m examples.avqa extract --videos {out / 'videos'} --out {out / 'features'}"
    )


def _scenes(settings: ConcertSettings) -> list[Scene]:
    programs = {instrument: len(PROGRAMS[instrument]) for instrument in INSTRUMENTS}
    return [
        scene
        for split in SPLITS
        for scene in sample_scenes(settings, split, programs_per_instrument=programs, drawings=NUM_DRAWINGS)
    ]


def _check_folder(out: Path, settings: ConcertSettings) -> None:
    """A folder holds one data set: videos of other settings would not fit the questions."""
    path = out / SETTINGS
    if not path.exists():
        return
    try:
        before = decoded(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); delete {out} and render again") from error
    if not isinstance(before, dict):
        raise UserError(f"{path} holds no settings; delete {out} and render again")
    now = json.loads(json.dumps(settings.to_json()))
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise UserError(
            f"out: {out} holds concerts of other settings ({', '.join(changed)}); choose another folder or delete it"
        )


def _render_all(scenes: list[Scene], folder: Path, workers: int | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    sweep_temporaries(folder.parent)
    pending = [(scene, folder / f"{scene.video_id}.mp4") for scene in scenes]
    pending = [(scene, path) for scene, path in pending if not path.exists()]
    with tqdm(total=len(scenes), initial=len(scenes) - len(pending), desc="rendering", unit="concert") as bar:
        for _ in each_done(render_concert, list(pending), workers or cores()):
            bar.update()
