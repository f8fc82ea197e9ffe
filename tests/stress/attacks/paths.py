"""Names from annotations, indexes, configs, stores, uploads and folders of videos, that name files elsewhere."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from examples.avqa.annotations import Vocabulary, load_questions
from examples.avqa.encoders.base import MODALITIES, FeatureDims
from examples.avqa.errors import UserError
from examples.avqa.extract import _videos
from examples.avqa.features import FeatureFolder, IndexRecord, open_features
from examples.avqa.rendered import rendered_concerts
from examples.avqa.result_files import results_name
from examples.avqa.store_index import INDEX, Layout, StoredClip, StoredModality, StoreIndex
from examples.avqa.systems import system
from examples.avqa.uploads import Uploads
from tests.examples.tiny_run import ANSWERS, record
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.path_names import names

_DIMS = FeatureDims(audio=3, video=3, patches=(1, 3), question=3, words=3)
_VOCABULARY = Vocabulary(ANSWERS, Path("answers"))
_KIND = ("Audio-Visual", "Existential")
_TOUCHES = {
    "open",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.listdir",
    "os.scandir",
    "os.truncate",
    "os.link",
}


class _Watch:
    """Every path that is touched while it looks, by Python's own hook, which cannot be taken out again."""

    def __init__(self) -> None:
        self.touched: set[str] | None = None
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.touched is None or event not in _TOUCHES:
            return
        for path in arguments[: 2 if event == "os.rename" else 1]:
            if isinstance(path, str | bytes | os.PathLike):
                with suppress(ValueError):
                    self.touched.add(os.path.realpath(os.fsdecode(path)))

    @contextmanager
    def outside(self, folder: Path) -> Iterator[list[str]]:
        """Collects what is touched outside the folder."""
        found: list[str] = []
        self.touched = set()
        try:
            yield found
        finally:
            touched, self.touched = self.touched, None
            root = os.path.realpath(folder)
            found += sorted(path for path in touched if path != root and not path.startswith(f"{root}/"))


_watch: _Watch | None = None


def paths(run: Run) -> Outcome:
    """Gives each name to everything that makes a path of it."""
    global _watch
    _watch = _watch or _Watch()
    outside, inside = run.folder / "outside", run.folder / "inside"
    outside.mkdir()
    canary = outside / "canary.npy"
    canary.write_bytes(b"canary")
    failures: list[str] = []
    uses = _uses()
    refused = 0
    for use in uses:
        # What is imported on the first call is no use of a name.
        _emptied(inside)
        _tried(use, inside, "clip")
    tried = itertools.islice(names(run.seed, str(canary.with_suffix(""))), run.amount)
    for number, name in enumerate(tried, start=1):
        for use in uses:
            _emptied(inside)
            with _watch.outside(inside) as touched:
                fault = _tried(use, inside, name)
            refused += fault == ""
            if fault:
                failures.append(f"{use.__name__} {name[:80]!r}: {fault}")
            failures += [f"{use.__name__} {name[:80]!r}: touches {path}" for path in touched]
        run.tell(number)
    if canary.read_bytes() != b"canary" or [path.name for path in outside.iterdir()] != ["canary.npy"]:
        failures.append("the folder outside was changed")
    return Outcome(run.amount, tuple(failures), {"ways to make a path of a name": len(uses), "refused": refused})


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _tried(use: Callable[[Path, str], str | None], folder: Path, name: str) -> str | None:
    """What is wrong; nothing, in words, for a name that was refused."""
    try:
        return use(folder, name)
    except UserError:
        return ""
    except Exception as error:  # whatever is raised is what is looked for
        return f"{type(error).__name__}: {error}"[:200]


def _uses() -> list[Callable[[Path, str], str | None]]:
    return [_annotation, _feature, _modality, _index, _stored, _video, _concert_link, _upload, _results, _system]


def _annotation(folder: Path, name: str) -> str | None:
    """The id of an annotation: refused, or a file beside its like."""
    path = folder / "test.json"
    path.write_text(json.dumps([record(name, 1, _KIND, "Is there a voiceover?", [], "yes")]))
    (question,) = load_questions(path, _VOCABULARY)
    (folder / "videos").mkdir()
    made = folder / "videos" / f"{question.video_id}.mp4"
    _is_file(made)
    return None if made.parent == folder / "videos" else f"became {made}"


def _folder(root: Path, folders: dict[Any, str] | None = None) -> FeatureFolder:
    return FeatureFolder(root, folders or {modality: str(modality) for modality in MODALITIES})


def _save(source: FeatureFolder, name: str) -> None:
    features = {modality: torch.zeros(2, 3) for modality in MODALITIES}
    source.save(features, IndexRecord(name, "small", 2, 2.0, False, 1, {}))


def _feature(folder: Path, name: str) -> str | None:
    """The id of a clip: its features and index are written, read and looked for."""
    source = _folder(folder)
    fault = None
    for read in (source.index, source.headers, source.complete, source.load, source.value_fault):
        try:
            read(name)
        except UserError:
            continue
        except OSError as error:
            fault = f"{type(error).__name__} of {read.__name__}"
    with suppress(UserError):
        source.check([name], _DIMS)
    _save(source, name)
    source.headers(name)
    return fault


def _modality(folder: Path, name: str) -> str | None:
    """The folder of a modality, as a config tells it."""
    _save(_folder(folder, {"audio": name, "video": "v", "patches": "p"}), "clip")
    return None


def _index(folder: Path, name: str) -> str | None:
    """The id that an index tells is not what its file is called by."""
    source = _folder(folder)
    _save(source, "clip")
    path = folder / "index" / "clip.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"video_id": name}))
    told = source.some_record()
    if told is not None:
        source.complete("clip")
    return None


def _stored(folder: Path, name: str) -> str | None:
    """The ids and settings of a packed store."""
    layout = Layout({modality: StoredModality("float16", (4,)) for modality in MODALITIES})
    settings = {"folders": dict.fromkeys(MODALITIES, name)}
    if _encodes(name):
        StoreIndex(settings, layout, {name: StoredClip(0, 1, 1, 0)}, {}, "").write(folder)
        (folder / "features.bin").write_bytes(bytes(layout.size(1)))
        store = open_features(folder, dict.fromkeys(MODALITIES, name))
        store.headers(name)
        store.load(name)
        store.value_fault(name)
        store.check([name], _DIMS)
        (folder / INDEX).unlink()
    return None


def _video(folder: Path, name: str) -> str | None:
    """A file in a folder of videos, if there can be one of that name, and its features."""
    videos = folder / "videos"
    videos.mkdir()
    try:
        if "/" not in name:
            (videos / f"{name}.mp4").write_bytes(b"")
    except (OSError, ValueError):
        return None
    for video_id in _videos(videos):
        _save(_folder(folder / "features"), video_id)
    return None


def _concert_link(folder: Path, name: str) -> str | None:
    """A folder of concerts whose videos lead elsewhere: visitors would be sent what lies there."""
    videos = folder / "videos"
    videos.mkdir()
    (folder / "test.json").write_text(json.dumps([record("clip", 1, _KIND, "Is there a voiceover?", [], "yes")]))
    try:
        (videos / "clip.mp4").symlink_to(name)
        leads = (videos / "clip.mp4").resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    try:
        offered = rendered_concerts(folder, None, _VOCABULARY)  # type: ignore[arg-type]  # it is not looked at
    except UserError:
        return None
    return f"offers {leads}" if offered and leads.parent != videos.resolve() else None


def _upload(folder: Path, name: str) -> str | None:
    """A path that a request names as an upload: only what lies in a folder of the page's own is held, or removed."""
    page, other = folder / "page", folder / "other.mp4"
    (page / "0123").mkdir(parents=True)
    (page / "0123" / "clip.mp4").write_bytes(b"")
    other.write_bytes(b"other")
    (page / "link").symlink_to(folder)
    uploads = Uploads(page, 2**20)
    for path in (
        name,
        f"{page}/{name}",
        f"{page}/0123/{name}",
        f"{page}/0123/../../other.mp4",
        f"{page}/link/other.mp4",
    ):
        inside = _real(path).is_relative_to(page.resolve())
        if uploads.contains(path) and not inside:
            return f"takes {path} for an upload"
        # Not what lies outside the folder of this attack: it would be lost.
        if _real(path).is_relative_to(folder.resolve()):
            uploads.hold("visitor", Path(path))
            uploads.hold("visitor", None)
    return None if other.read_bytes() == b"other" else "another file was removed"


def _results(folder: Path, name: str) -> str | None:
    """The name of annotations gives the folder of their results."""
    for file in (Path(name), Path("/", name), folder / f"{name}.json"):
        try:
            made = results_name("test", None, file)
        # No file can be called so.
        except (ValueError, OSError):
            continue
        if (folder / made).parent != folder or made in ("", ".", ".."):
            return f"became {made!r}"
    return None


def _system(folder: Path, name: str) -> str | None:
    """The name of a system gives the folder of its runs."""
    made = folder / system(name).folder
    return None if made.parent == folder else f"became {made}"


def _real(path: str) -> Path:
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return Path("/")


def _encodes(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


ATTACKS = (
    Attack(
        name="paths",
        area="Security",
        tried="names with ../, /, \\\\, NUL, look-alikes, links and great length as ids, folders, uploads and results",
        holds="nothing outside the folder is read, written or removed; a plain name, or an error that says what to do",
        run=paths,
        full=1000,
        sample=70,
        unit="names",
        defects=(
            Defect(
                "a config could name the folder of a modality outside that of the features, and it was written there",
                "tests/examples/test_features.py::test_folders_lie_in_that_of_the_features",
                "A config cannot put a modality's folder outside",
            ),
            Defect(
                "a clip's id that was no UTF-8, or longer than a file's name, ended in a traceback",
                "tests/examples/test_features.py::test_an_id_that_no_file_can_have_is_told",
                "ids that no file can have",
            ),
            Defect(
                "a video in a folder of concerts that was a link was offered on the page, wherever it led",
                "tests/examples/test_serve.py::test_a_concert_that_is_a_link_elsewhere_is_not_offered",
                "links among concerts are not offered",
            ),
            Defect(
                "packing went on through a link in an unfinished store, and wrote to the file that it led to",
                "tests/examples/test_pack.py::test_nothing_is_written_through_a_link",
                "`pack` follows no link in an unfinished store",
            ),
            Defect(
                "annotations named by dots alone had their results written to the folder above the run",
                "tests/examples/test_result_files.py::test_no_annotations_name_another_folder",
                "results stay in the run's folder",
            ),
        ),
    ),
)
