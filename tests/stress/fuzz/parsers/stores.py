"""The packed store: its index, its bytes, and the journal of packing that was stopped."""

from __future__ import annotations

import functools
import re
import tempfile
import zlib
from pathlib import Path

from examples.avqa.encoders.base import MODALITIES, Modality
from examples.avqa.features import open_features
from examples.avqa.pack_journal import Entry, Journal, Stamps, signed
from examples.avqa.store import FeatureStore
from examples.avqa.store_index import DATA, INDEX, JOURNAL, Layout, StoredClip, StoredModality, StoreIndex
from tests.stress.fuzz.json_changes import json_changed
from tests.stress.fuzz.judge import unclear
from tests.stress.fuzz.parser import Draw, Files, Parser

from .annotations import refused_clearly
from .features import DIMS

_SHAPES: dict[Modality, tuple[int, ...]] = {"audio": (5,), "video": (4,), "patches": (2, 3)}
_LAYOUT = Layout(
    {name: StoredModality("float32" if name == "audio" else "float16", _SHAPES[name]) for name in MODALITIES}
)
_SETTINGS = {"encoder": "small", "folders": {"audio": "sound"}, "frames": None}
_STAMPS: dict[str, Stamps] = {"a": [[10, 1], [2, 3]], "b": [[4, 5]], "c": [[6, 7]]}


def _clips() -> tuple[dict[str, StoredClip], bytes]:
    data, clips = b"", dict[str, StoredClip]()
    for video_id, frames in (("a", 3), ("c", 200)):
        # Numbers between 1 and 2 in half precision, whatever the bytes below are.
        content = (bytes([len(data) % 251, 0x3C]) * _LAYOUT.size(frames))[: _LAYOUT.size(frames)]
        clips[video_id] = StoredClip(len(data), frames, frames - 1, zlib.crc32(content))
        data += content
    return clips, data


@functools.cache
def _store() -> tuple[Files, ...]:
    clips, data = _clips()
    with tempfile.TemporaryDirectory() as made:
        StoreIndex(_SETTINGS, _LAYOUT, clips, {"b": "frames/b.npy: missing"}, "0" * 64).write(Path(made))
        return ({INDEX: (Path(made) / INDEX).read_bytes(), DATA: data},)


@functools.cache
def _journal() -> tuple[Files, ...]:
    with tempfile.TemporaryDirectory() as made:
        journal = Journal(Path(made), _SETTINGS)
        journal.restart([])
        for entry in _entries():
            journal.append(entry)
        return ({JOURNAL: (Path(made) / JOURNAL).read_bytes(), DATA: _clips()[1]},)


def _entries() -> list[Entry]:
    clips, _ = _clips()
    fault = "frames/b.npy: missing"
    return [Entry(name, stamps, clips.get(name), "" if name in clips else fault) for name, stamps in _STAMPS.items()]


def _line_changed(draw: Draw, data: bytes) -> bytes:
    """One line of the journal changed as JSON."""
    lines = data.split(b"\n")
    number = draw.number(0, len(lines) - 1)
    if number == 0:
        lines[0] = json_changed(draw, lines[0])
    else:
        text = json_changed(draw, lines[number].partition(b" ")[2])
        # With a true checksum the rest is looked at; what a clip is told to be is then believed.
        believed = re.search(rb'"(?:frames|real|fault|clip)"', text)
        lines[number] = lines[number][:9] + text if believed else signed(text)
    return b"\n".join(lines)


def _read_store(folder: Path) -> None:
    source = open_features(folder, {})
    assert isinstance(source, FeatureStore)
    clips, data = _clips()
    for video_id in (*source.index.clips, "nobody"):
        for header in source.headers(video_id).modalities.values():
            assert header.fault is None or unclear(header.fault[1] or "x", folder) in (
                "",
                "a message that names no file",
            )
    source.check(source.index.clips, DIMS)
    source.check_values(source.index.clips)
    for video_id, clip in source.index.clips.items():
        loaded = source.load(video_id)
        assert 1 <= loaded.frames <= len(loaded.video) == clip.frames
        # Every byte is there to be read.
        assert sum(tensor.double().nan_to_num().sum().item() for tensor in loaded[:3]) != float("nan")
        fault = source.value_fault(video_id)
        if fault is None and clips.get(video_id) == clip:
            size = _LAYOUT.size(clip.frames)
            with (folder / DATA).open("rb") as file:
                file.seek(clip.offset)
                assert file.read(size) == data[clip.offset : clip.offset + size], "changed bytes are not noticed"
    missing = "b" if "b" not in source.index.clips else "nobody"
    if missing not in source.index.clips:
        refused_clearly(folder, lambda: source.load(missing))


def _read_journal(folder: Path) -> None:
    journal = Journal(folder, _SETTINGS)
    entries = journal.verified(_STAMPS, _LAYOUT)
    for entry, true in zip(entries, _entries(), strict=False):
        assert (entry.video_id, entry.stamps) == (true.video_id, true.stamps)
        if entry.clip is None:
            assert entry.fault
            assert entry.fault.isprintable()
        else:
            assert true.clip is not None
            assert entry.clip._replace(real=true.clip.real) == true.clip
            assert 1 <= entry.clip.real <= entry.clip.frames
    journal.restart(entries)
    assert Journal(folder, _SETTINGS).verified(_STAMPS, _LAYOUT) == entries


PARSERS = (
    Parser("store", _store, {INDEX: (json_changed,), DATA: ()}, _read_store),
    Parser("pack-journal", _journal, {JOURNAL: (_line_changed,), DATA: ()}, _read_journal),
)
