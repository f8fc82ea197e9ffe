"""Texts under the name of a video that tell ffmpeg to open something else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

from examples.avqa.errors import UserError
from examples.avqa.media import probe, read_audio, read_frames
from tests.stress.attack import Attack, Defect, Outcome, Run
from tests.stress.video_seeds import Seed, write_seed

_TESTS = "tests/examples/test_media_hostile.py"
_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".m3u8", ".mpd", ".sdp", ".ts")


def playlists(other: str) -> dict[str, str]:
    """Texts that name another file or address, by their kind."""
    segment = f"#EXTINF:1.0,\n{other}\n"
    return {
        "HLS": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n{segment}#EXT-X-ENDLIST\n",
        "HLS of variants": f'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS="avc1.42e00a"\n{other}\n',
        "HLS with a map": f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="{other}"\n{segment}#EXT-X-ENDLIST\n',
        "HLS with a key": f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI="{other}"\n{segment}',
        "concat": f"ffconcat version 1.0\nfile {other}\n",
        "concat with options": f"ffconcat version 1.0\nfile {other}\noption safe 0\nduration 1\n",
        "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000">'
        f'<BaseURL>{other}</BaseURL><SegmentBase indexRange="0-99"/></Representation></AdaptationSet></Period></MPD>',
        "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
        f"a=rtpmap:96 H264/90000\na=control:{other}\n",
        "ASX": f'<asx version="3.0"><entry><ref href="{other}"/></entry></asx>',
        "WebVTT": f"WEBVTT\n\n00:00.000 --> 00:01.000\n{other}\n",
        "reference of QuickTime": f"RTSPtext\n{other}\n",
        "image list": f"{other}\n",
    }


def _run(run: Run) -> Outcome:
    secret = write_seed(run.folder, Seed("secret.ts"))
    write_seed(run.folder, Seed("secret.mp4"))
    failures, tried = list[str](), 0
    with _server() as (address, asked):
        others = ("secret.ts", "secret.mp4", str(secret), f"file:{secret}", f"{address}/a.ts", f"{address}/a.mp4")
        cases = [
            (other, *item, suffix) for other in others for item in playlists(other).items() for suffix in _SUFFIXES
        ]
        # A sample has some of each.
        for other, kind, text, suffix in Random(run.seed).sample(cases, min(run.amount, len(cases))):
            path = run.folder / f"clip{suffix}"
            path.write_text(text)
            for read in (probe, read_frames, read_audio):
                try:
                    failures.append(
                        f"{kind} as {path.name} that names {other}: {read.__name__} gives {read(path)}"[:300]
                    )
                except UserError as error:
                    if str(path) not in str(error):
                        failures.append(f"{kind} as {path.name}: the error does not name the file: {error}")
            if asked:
                failures.append(f"{kind} as {path.name}: {asked.pop()} was asked for")
            path.unlink()
            tried += 1
            run.tell(tried)
    failures += _misnamed(run.folder, secret)
    return Outcome(tried, tuple(failures))


def _misnamed(folder: Path, secret: Path) -> Iterator[str]:
    """Names that ffmpeg would take for addresses: the file of that name is read, or refused, and no other."""
    for name in (
        f"concat:{secret.name}",
        f"subfile,,start,0,end,9999,,:{secret.name}",
        "data:video,a",
        "pipe:0",
        "12:30 a.mp4",
    ):
        # Names are looked up in the present folder only without a folder before them.
        path = folder / name
        path.write_bytes(secret.read_bytes() if name.endswith("a.mp4") else b"no video")
        with _inside(folder):
            try:
                info = probe(Path(name))
                if not name.endswith("a.mp4"):
                    yield f"the file {name} was taken as {info}"
            except UserError as error:
                if name.endswith("a.mp4"):
                    yield f"a file called {name} is not read: {error}"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _server() -> Iterator[tuple[str, list[str]]]:
    """An address that notes what it is asked for."""
    asked = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


_FULL = 6 * 12 * len(_SUFFIXES)
ATTACKS = (
    Attack(
        name="video-playlists",
        area="Security",
        tried="HLS, DASH, concat, SDP and other lists that name a local video or an address, under names of videos; "
        "file names that look like addresses",
        holds="refused in one line; no other file is read, and nothing is asked for on the network",
        run=_run,
        full=_FULL,
        sample=60,
        unit="files",
        defects=(
            Defect(
                "a text called clip.mp4 made ffmpeg read another video, whose name it held",
                f"{_TESTS}::test_a_list_of_other_files_is_no_video",
                "A playlist under a video's name",
            ),
            Defect(
                "a video called 12:30.mp4 was not found, one called concat:b.ts gave b.ts",
                f"{_TESTS}::test_a_name_that_looks_like_an_address",
                "names with a colon are files",
            ),
        ),
    ),
)
