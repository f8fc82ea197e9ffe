"""Videos are read at exact times, whatever their rate, size and container, and faults are told in one line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.stream import Disposition
from PIL import Image

from examples.avqa.errors import UserError
from examples.avqa.media import probe, read_audio, read_frames, whole_seconds
from tests.examples.tiny_videos import GREY_OF_FIRST_SECOND, GREY_STEP, sine, write_video


def _seconds_shown(frames: npt.NDArray[np.uint8]) -> list[int]:
    greys = frames.mean(axis=(1, 2, 3))
    return [round((grey - GREY_OF_FIRST_SECOND) / GREY_STEP) for grey in greys.tolist()]


def _read_audio(path: Path, seconds: int | None = None) -> npt.NDArray[np.float32]:
    wave = read_audio(path, seconds=seconds)
    assert wave is not None
    return wave


def test_the_header_is_read(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "a.mp4", seconds=3, sample_rate=22050, layout="mono"))
    assert info.duration == pytest.approx(3, abs=0.05)
    assert (info.fps, info.width, info.height) == (25, 64, 48)
    assert (info.has_audio, info.sample_rate, info.channels) == (True, 22050, 1)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi"])
def test_each_frame_is_of_its_own_second(tmp_path: Path, suffix: str) -> None:
    frames = read_frames(write_video(tmp_path / f"a.{suffix}", seconds=5))
    assert frames.shape == (5, 48, 64, 3)
    assert frames.dtype == np.uint8
    assert _seconds_shown(frames) == [0, 1, 2, 3, 4]


def test_a_fractional_rate_and_odd_sizes(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", seconds=7, fps=Fraction(25, 2), size=(47, 65), sample_rate=22050, layout="mono", tone=(2, 3)
    )
    frames = read_frames(path)
    assert frames.shape == (7, 47, 65, 3)
    assert _seconds_shown(frames) == [0, 1, 2, 3, 4, 5, 6]
    assert _read_audio(path).shape == (7, 16000)


def test_the_frame_in_the_middle_of_a_second_is_taken(tmp_path: Path) -> None:
    # Variable rate: in second 0 the picture changes at 0.5 s exactly, in second 1 just after its middle.
    times = [Fraction(0), Fraction(500, 1000), Fraction(1000, 1000), Fraction(1520, 1000), Fraction(2900, 1000)]
    path = write_video(tmp_path / "a.mkv", tone=None, frame_times=times)
    with av.open(str(path)) as container:
        shown = {float(frame.time or 0): frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)}
    frames = read_frames(path)
    for got, time in zip(frames, (0.5, 1.0, 1.52), strict=True):
        assert np.array_equal(got, shown[time])


def test_two_frames_a_second_and_a_frame_every_two_seconds(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=6, tone=None)
    assert _seconds_shown(read_frames(path, frames_per_second=2)) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert _seconds_shown(read_frames(path, frames_per_second=0.5)) == [1, 3, 5]


def test_half_a_second_gives_one_frame_and_one_padded_second(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=0.5)
    assert len(read_frames(path)) == 1
    wave = _read_audio(path)
    assert wave.shape == (1, 16000)
    assert np.abs(wave[0, :7900]).max() > 0.4
    assert not wave[0, 8200:].any()


def test_a_short_last_second_shows_the_last_frame(tmp_path: Path) -> None:
    # The picture of second 2 stands from 2.0 to 2.5 s, and its third one would be taken at 2.5 s.
    path = write_video(tmp_path / "a.mp4", seconds=2.5, fps=Fraction(10), tone=None)
    assert _seconds_shown(read_frames(path)) == [0, 1, 2]
    assert whole_seconds(2.5) == 3
    assert whole_seconds(2.49) == 2
    assert whole_seconds(0.01) == 1


def test_pictures_are_scaled_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", tone=None)
    frames = read_frames(path, size=(30, 20))
    assert frames.shape == (3, 30, 20, 3)
    assert _seconds_shown(frames) == [0, 1, 2]


def test_rotated_pictures_are_turned_upright(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mp4", tone=None)
    turned = write_video(tmp_path / "turned.mp4", tone=None, rotation=90)
    assert read_frames(plain).shape == (3, 48, 64, 3)
    for size in (None, (64, 48)):
        frame = read_frames(turned, size=size)[0]
        assert frame.shape == (64, 48, 3)
        # A white corner at the top left, turned a quarter anticlockwise, is at the bottom left.
        assert frame[40:, :20].mean() > 240
        assert frame[:20].mean() < 60
        assert frame[40:, 30:].mean() < 60


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize(("sample_rate", "layout"), [(44100, "stereo"), (22050, "mono")])
def test_a_tone_is_found_in_its_second(tmp_path: Path, suffix: str, sample_rate: int, layout: str) -> None:
    path = write_video(tmp_path / f"a.{suffix}", seconds=4, tone=(2, 3), sample_rate=sample_rate, layout=layout)
    wave = _read_audio(path)
    power = (wave**2).mean(axis=1)
    assert wave.dtype == np.float32
    # A sine of 0.5 has the power 0.125; mixing to one channel must not change its loudness.
    assert power[2] == pytest.approx(0.125, rel=0.02)
    assert power[[0, 1, 3]].max() < 1e-4
    loud = np.flatnonzero(np.abs(wave.ravel()) > 0.1)
    assert abs(loud[0] - 32000) < 80
    assert abs(loud[-1] - 48000) < 80


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 48000])
def test_resampling_keeps_every_sample_in_its_place(tmp_path: Path, sample_rate: int) -> None:
    path = write_video(tmp_path / "a.mkv", seconds=2, sample_rate=sample_rate, sound_codec="pcm_s16le")
    difference = np.abs(_read_audio(path, seconds=2).ravel() - sine(2))
    # The resampler's filter sees silence beyond both ends.
    assert difference[100:-100].max() < 1e-3
    assert difference.max() < 0.3


def test_sound_that_begins_late_stays_late(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", seconds=4, tone=(0, 1))
    late = tmp_path / "late.mkv"
    with av.open(str(path)) as source, av.open(str(late), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue
            if packet.stream.type == "audio":
                delay = round(2 / packet.time_base)
                packet.pts, packet.dts = packet.pts + delay, packet.dts + delay
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
    with av.open(str(late)) as container:
        # Pictures that are shown in another order than stored begin a little after 0: this is the file's start.
        start = (container.start_time or 0) / 1e6
    loud = np.flatnonzero(np.abs(_read_audio(late, seconds=4).ravel()) > 0.1) / 16000
    assert loud[0] == pytest.approx(2 - start, abs=0.005)
    assert loud[-1] == pytest.approx(3 - start, abs=0.005)


def test_sound_is_cut_or_padded_to_the_seconds_wanted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=3)
    long, short = _read_audio(path, seconds=5), _read_audio(path, seconds=2)
    assert np.array_equal(long[:2], short)
    assert not long[4].any()


def test_no_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", tone=None)
    assert not probe(path).has_audio
    assert read_audio(path) is None


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="is a folder"):
        probe(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UserError, match="empty"):
        probe(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video " * 99)
    with pytest.raises(UserError, match="not a readable video"):
        probe(tmp_path / "text.mp4")
    Image.new("RGB", (8, 8)).save(tmp_path / "still.png")
    with pytest.raises(UserError, match="not a video"):
        probe(tmp_path / "still.png")
    with pytest.raises(UserError, match="no picture stream"):
        probe(write_video(tmp_path / "sound.mp4", picture=False))


def test_a_file_without_its_index(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="not a readable video"):
        probe(path)


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {"movflags": "faststart"}), ("mkv", {})])
def test_a_file_cut_off_in_the_middle(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = write_video(tmp_path / f"a.{suffix}", seconds=10, options=options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert probe(path).duration == pytest.approx(10, abs=0.1)
    with pytest.raises(UserError, match=r"cut off.* 10\.0 s of picture, but only [3-7]\.\d s"):
        read_frames(path)
    with pytest.raises(UserError, match=r"(cut off|damaged).*sound"):
        read_audio(path)


def test_sound_that_outlasts_the_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", seconds=6, frame_times=[Fraction(i, 10) for i in range(20)])
    assert _seconds_shown(read_frames(path)) == [0, 1, 1, 1, 1, 1]
    # Without the tags nobody knows how long the picture ought to be.
    content = path.read_bytes()
    assert b"DURATION" in content
    path.write_bytes(content.replace(b"DURATION", b"UNKNOWN_"))
    assert _seconds_shown(read_frames(path)) == [0, 1, 1, 1, 1, 1]
    path.write_bytes(path.read_bytes()[: len(content) // 2])
    with pytest.raises(UserError, match="cut off"):
        read_frames(path)


def test_the_cover_of_an_album_is_no_picture_stream(tmp_path: Path) -> None:
    path = write_video(tmp_path / "album.mkv", seconds=1)
    cover = tmp_path / "album.mp4"
    with av.open(str(path)) as source, av.open(str(cover), "w") as target:
        audio = target.add_stream_from_template(source.streams.audio[0])
        picture = target.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        picture.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9, dtype=np.uint8), format="rgb24")
        target.mux(picture.encode(frame))
        target.mux(picture.encode(None))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = audio
                target.mux(packet)
    with pytest.raises(UserError, match="no picture stream"):
        probe(cover)


def test_damaged_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=10)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"damaged: its sound can be read for \d\.\d s of 10\.0 s"):
        read_audio(path)


def test_a_live_recording_without_a_duration(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", seconds=3, options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe(path).duration == pytest.approx(3, abs=0.1)
    assert _seconds_shown(read_frames(path)) == [0, 1, 2]
