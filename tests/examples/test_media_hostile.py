"""Videos that are damaged, lie about themselves or want more than they should: a right result, or one line."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from examples.avqa import clips
from examples.avqa.clips import encode_clip
from examples.avqa.containers import MOST_HOURS
from examples.avqa.encoders.small import SmallEncoders
from examples.avqa.errors import UserError
from examples.avqa.extract import extract
from examples.avqa.media import each_frame, probe, read_audio, read_frames
from tests.stress.attacks.video_playlists import playlists
from tests.stress.video_kinds import KINDS
from tests.stress.video_writer import Picture, Sound, steady, tone, write


def _kind(name: str, folder: Path) -> Path:
    return KINDS[name].write(folder / "a")


def _amplitudes(path: Path) -> list[float]:
    wave = read_audio(path)
    assert wave is not None
    return [round(float(np.sqrt(2 * np.square(second[1600:-1600]).mean())), 2) for second in wave]


@pytest.mark.parametrize("kind", playlists(""))
def test_a_list_of_other_files_is_no_video(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "secret.ts", Picture(steady(1)))
    for suffix in ("mp4", "m3u8", "mpd", "sdp"):
        path = tmp_path / f"clip.{suffix}"
        path.write_text(playlists("secret.ts")[kind])
        with pytest.raises(UserError, match=r"clip\.\w+ is not a (readable )?video"):
            probe(path)


def test_a_name_that_looks_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("secret.ts"), Picture(steady(1)))
    write(Path("a.mp4"), Picture(steady(1))).rename("12:30 a.mp4")
    assert probe(Path("12:30 a.mp4")).width == 48
    Path("concat:secret.ts").write_text("no video")
    with pytest.raises(UserError, match="not a readable video"):
        probe(Path("concat:secret.ts"))


@pytest.mark.parametrize(("codec", "what"), [("avc1", "picture"), ("sowt", "sound")])
def test_an_unknown_codec(tmp_path: Path, codec: str, what: str) -> None:
    path = write(tmp_path / "a.mov", Picture(steady(1)), [Sound([(Fraction(0), tone(1))])])
    content = path.read_bytes()
    at = content.index(codec.encode(), content.index(b"stsd"))
    path.write_bytes(content[:at] + b"zzzz" + content[at + 4 :])
    with pytest.raises(UserError, match=rf"a\.mov: its {what} is of an unknown codec; convert it"):
        probe(path)


def test_a_header_that_says_ten_times_too_long(tmp_path: Path) -> None:
    # At more than 8 kbit/s the header is believed until the content ends.
    path = _kind("header times 10", tmp_path)
    assert probe(path).duration == 30
    assert len(list(islice(each_frame(path), 2))) == 2
    for read in (read_frames, read_audio):
        with pytest.raises(UserError, match=r"cut off: its header says 30\.0 s .*only 3\.0 s"):
            read(path)


def test_a_header_of_ten_thousand_hours_takes_no_memory(tmp_path: Path) -> None:
    path = _kind("header of 10,000 hours", tmp_path)
    for read in (probe, read_frames, read_audio):
        with pytest.raises(UserError, match="cut off"):
            read(path)


def test_more_hours_than_are_read(tmp_path: Path) -> None:
    path = _kind("seven hours", tmp_path)
    assert probe(path).duration == 7 * 3600
    for read in (read_frames, lambda path: encode_clip(path, SmallEncoders())):
        with pytest.raises(UserError, match=rf"a\.mkv: 7\.0 hours of it would be read, and at most {MOST_HOURS}"):
            read(path)
    assert len(read_frames(path, most=2)) == 2


@pytest.mark.parametrize("name", ["tag of 10^99999999 seconds", "tag of 1/0 seconds"])
def test_a_tag_that_is_no_time(tmp_path: Path, name: str) -> None:
    assert _amplitudes(_kind(name, tmp_path)) == [0.1, 0.2, 0.0]


@pytest.mark.parametrize(
    "name", ["20 million samples in a table", "20 million samples in a fragment", "25 billion samples in chunks"]
)
def test_tables_that_claim_more_than_the_file_can_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"its tables claim [\d,]+ samples .*more than its [\d,]+ bytes can hold"):
        probe(_kind(name, tmp_path))


@pytest.mark.parametrize("suffix", ["mov", "mp4"])
def test_tables_of_uncompressed_sound_are_believed(tmp_path: Path, suffix: str) -> None:
    # One entry of the table stands for all samples, of one byte each.
    codec = "pcm_u8" if suffix == "mov" else "pcm_s16le"
    sound = Sound([(Fraction(0), tone(3, 8000))], 8000, codec=codec)
    assert _amplitudes(write(tmp_path / f"a.{suffix}", Picture(steady(3)), [sound])) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("name", ["7.1 sound", "hexadecagonal sound"])
def test_eight_channels_and_more(tmp_path: Path, name: str) -> None:
    # In a process of its own: the whole interpreter died.
    code = "import sys, pathlib, examples.avqa.media as m; print(m.read_audio(pathlib.Path(sys.argv[1])).shape)"
    path = _kind(name, tmp_path)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "(3, 16000)\n")
    assert _amplitudes(path) == [0.1, 0.2, 0.3]


def test_sound_after_a_gap_stays_at_its_time(tmp_path: Path) -> None:
    assert _amplitudes(_kind("sound with a gap", tmp_path)) == [0.1, 0.2, 0, 0, 0.1, 0.2]


def test_sound_that_becomes_stereo_on_the_way(tmp_path: Path) -> None:
    assert _amplitudes(_kind("sound that becomes stereo", tmp_path)) == [0.1, 0.2, 0.1, 0.2]


def test_one_damaged_time_does_not_end_the_sound(tmp_path: Path) -> None:
    parts = [(Fraction(0), tone(1)), (Fraction(50), tone(0.05)), (Fraction(1), tone(1))]
    path = write(tmp_path / "a.mkv", Picture(steady(60, Fraction(1)), fps=Fraction(1)), [Sound(parts)])
    wave = read_audio(path, seconds=2)
    assert wave is not None
    assert float(np.abs(wave[1]).max()) == pytest.approx(0.1, abs=0.01)


def test_pictures_that_become_larger_on_the_way(tmp_path: Path) -> None:
    assert read_frames(_kind("pictures that become larger", tmp_path)).shape == (4, 32, 48, 3)


@pytest.mark.parametrize("name", ["sound that is no number", "sound that is infinite"])
def test_sound_that_is_no_number(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"damaged: its sound can be read for 1\.3 s of 3\.0 s only"):
        read_audio(_kind(name, tmp_path))


def test_a_late_file_lasts_as_long_as_its_content(tmp_path: Path) -> None:
    path = _kind("starts after an hour (mkv)", tmp_path)
    assert probe(path).duration == pytest.approx(3, abs=0.05)
    assert len(read_frames(path)) == 3
    assert _amplitudes(path) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("rate", [0, 1, 2**31 - 1])
def test_a_rate_of_sound_that_cannot_be(tmp_path: Path, rate: int) -> None:
    path = write(
        tmp_path / "a.avi", Picture(steady(1), codec="mpeg4", clock=Fraction(1, 5)), [Sound([(Fraction(0), tone(1))])]
    )
    content = path.read_bytes()
    # strf of the second stream: format and channels come before the rate.
    at = content.index(b"strf", content.index(b"strf") + 4) + 12
    path.write_bytes(content[:at] + rate.to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(UserError, match=r"a\.avi is (damaged|cut off|not a readable)"):
        read_audio(path)


def test_a_live_recording_that_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flv", Picture(steady(3), codec="flv"), options={"flvflags": "no_duration_filesize"})
    path.write_bytes(path.read_bytes()[:-300])
    with av.open(str(path)) as container:
        assert container.duration is None
    assert 1 <= probe(path).duration < 3


def test_long_clips_are_encoded_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = list[tuple[str, int]]()

    class Small(SmallEncoders):
        def encode_audio(self, waveform):  # type: ignore[no-untyped-def]  # as the class has it
            pieces.append(("sound", len(waveform)))
            return super().encode_audio(waveform)

    path = write(tmp_path / "a.mkv", Picture(steady(5)), [Sound([(Fraction(0), tone(5))])])
    whole = encode_clip(path, Small())
    assert pieces == [("sound", 5)]
    monkeypatch.setattr(clips, "_SOUND_S", 2)
    monkeypatch.setattr("examples.avqa.encoders.small._FRAMES", 2)
    parts = encode_clip(path, Small())
    assert pieces[1:] == [("sound", 2), ("sound", 2), ("sound", 1)]
    for name in ("audio", "video", "patches"):
        # The same sums in float32, in other orders at most.
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-5)


def test_extraction_tells_how_many_frames_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of a video of hours nothing else would be seen for minutes.
    monkeypatch.setattr("examples.avqa.extract._TOLD_S", 0.005)
    extract(write(tmp_path / "a.mp4", Picture(steady(20, Fraction(1)), fps=Fraction(1))), tmp_path / "features")
    assert re.search(r"extracting.* [1-9]\d* frames", capsys.readouterr().err)
