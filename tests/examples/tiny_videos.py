"""Makes small videos whose every second is told by its grey value and by its sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

GREY_OF_FIRST_SECOND = 20
GREY_STEP = 30


def write_video(
    path: Path,
    *,
    seconds: float = 3.0,
    fps: Fraction = Fraction(25),
    size: tuple[int, int] = (48, 64),
    tone: tuple[float, float] | None = (0.0, 1e9),
    sample_rate: int = 44100,
    layout: str = "stereo",
    sound_codec: str = "aac",
    picture: bool = True,
    frame_times: list[Fraction] | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes H.264 and sound. A frame's grey value tells its second; a 440 Hz sine of 0.5 sounds during `tone`.

    Args:
        path: file to write; its suffix chooses the container.
        seconds: length of picture and sound.
        fps: frames a second, where `frame_times` is None.
        size: (height, width); odd sizes are written as 4:4:4.
        tone: [start, stop) in seconds, or None for a file without sound.
        sample_rate: of the sound.
        layout: "mono" or "stereo".
        sound_codec: "aac", or "pcm_s16le" for exact samples.
        picture: whether there is a picture stream.
        frame_times: when each frame begins, in seconds: a variable frame rate.
        rotation: degrees by which a player must turn the picture.
        options: of the container.
    """
    times = frame_times or [Fraction(i) / fps for i in range(round(seconds * fps))]
    with av.open(str(path), "w", options=options or {}) as container:
        if picture:
            video = container.add_stream("libx264", rate=fps)
            video.height, video.width = size
            video.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000) if frame_times else 1 / fps
            if rotation:
                video.set_display_rotation(rotation)
        if tone is not None:
            stream = container.add_stream(sound_codec, rate=sample_rate, layout=layout)
            assert isinstance(stream, av.AudioStream)
            audio = stream
        if picture:
            for time in times:
                frame = av.VideoFrame.from_ndarray(_picture(int(time), size, bool(rotation)), format="rgb24")
                frame.time_base = Fraction(1, 1000) if frame_times else 1 / fps
                frame.pts = round(time / frame.time_base)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if tone is not None:
            sound = av.AudioFrame.from_ndarray(
                np.repeat(sine(seconds, sample_rate, tone)[None], 1 if layout == "mono" else 2, axis=0),
                format="fltp",
                layout=layout,
            )
            sound.sample_rate, sound.time_base, sound.pts = sample_rate, Fraction(1, sample_rate), 0
            queue = av.AudioFifo()
            queue.write(sound)
            while (piece := queue.read(1024, partial=True)) is not None:
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


def sine(
    seconds: float, sample_rate: int = 16000, tone: tuple[float, float] = (0.0, 1e9), hertz: float = 440.0
) -> npt.NDArray[np.float32]:
    """A sine of amplitude 0.5 that sounds during [start, stop), else silence."""
    times = np.arange(int(seconds * sample_rate)) / sample_rate
    sounding = (times >= tone[0]) & (times < tone[1])
    wave: npt.NDArray[np.float32] = (0.5 * np.sin(2 * np.pi * hertz * times) * sounding).astype(np.float32)
    return wave


def _picture(second: int, size: tuple[int, int], marked: bool) -> npt.NDArray[np.uint8]:
    frame = np.full((*size, 3), GREY_OF_FIRST_SECOND + GREY_STEP * (second % 7), dtype=np.uint8)
    if marked:
        frame[: size[0] // 2, : size[1] // 2] = 255
    return frame
