"""`serve` without a browser: its options and errors, the limits, what is removed, and what the page says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.avqa.annotations import Vocabulary
from examples.avqa.answering import Asker
from examples.avqa.cli import main
from examples.avqa.errors import UserError
from examples.avqa.page_actions import PageActions, Picked, Shown, told
from examples.avqa.rendered import common_questions, rendered_concerts
from examples.avqa.serve import _ended_by_signals, check_address, guarded_hosts, is_loopback, serve, settings
from examples.avqa.uploads import Limits, Uploads, upload_folder
from tests.examples.tiny_run import ANSWERS, TinyData, everything
from tests.examples.tiny_videos import write_video

FIRST, SECOND = "How many instruments sound?", "Is there a voiceover?"
VOCABULARY = Vocabulary(ANSWERS, Path("run"))


@pytest.fixture(scope="module")
def concerts(tiny: TinyData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `concert` writes it; one test video is not there yet."""
    folder = tmp_path_factory.mktemp("concerts")
    (folder / "videos").mkdir()
    shutil.copy(tiny.root / "test.json", folder)
    for number in range(2):
        write_video(folder / "videos" / f"test_{number}.mp4", seconds=2)
    write_video(folder / "videos" / "train_0.mp4", seconds=1)
    return folder


@pytest.fixture(scope="module")
def asker(tiny_run: Path) -> Asker:
    return Asker(tiny_run)


@pytest.fixture
def actions(asker: Asker, concerts: Path, tmp_path: Path) -> PageActions:
    offered = rendered_concerts(concerts, asker.data, VOCABULARY)
    return PageActions(asker, offered, Limits(megabytes=1, seconds=5), Uploads(tmp_path, 2**24))


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    """An uploaded file, in a folder that is named by its content."""
    (tmp_path / "0123").mkdir()
    return write_video(tmp_path / "0123" / "own clip.mp4", seconds=2, tone=(1, 2))


def _taken(actions: PageActions, upload: Path) -> Shown | None:
    actions.hold("visitor", upload)
    return actions.take("visitor", upload)


def test_only_test_concerts_with_a_video_are_offered(concerts: Path, asker: Asker) -> None:
    offered = rendered_concerts(concerts, asker.data, VOCABULARY)
    assert list(offered) == ["test_0", "test_1"]
    # Every second clip is asked one question less.
    assert [len(concert.questions) for concert in offered.values()] == [4, 3]
    concert = offered["test_0"]
    assert concert.questions[1] == FIRST
    assert concert.answer_to(" how many instruments sound ") == "two"
    assert concert.answer_to("How many?") is None
    assert common_questions(list(offered.values()), 3) == [SECOND, FIRST, "Where is the first sounding instrument?"]


def test_without_concerts_there_are_uploads(asker: Asker, tmp_path: Path) -> None:
    """The tiny run's data have no videos."""
    assert rendered_concerts(None, asker.data, VOCABULARY) == {}
    with pytest.raises(UserError, match=r"lacks test\.json or videos/; render .*concert --out"):
        rendered_concerts(tmp_path, asker.data, VOCABULARY)


def test_concerts_without_any_video_are_told(concerts: Path, asker: Asker, tmp_path: Path) -> None:
    shutil.copy(concerts / "test.json", tmp_path)
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match="holds no video"):
        rendered_concerts(tmp_path, asker.data, VOCABULARY)


def test_concerts_of_other_answers_are_told(concerts: Path, asker: Asker) -> None:
    with pytest.raises(UserError, match="not among the 1 answers"):
        rendered_concerts(concerts, asker.data, Vocabulary(("yes",), Path("run")))


def test_a_concert_is_asked_and_judged(actions: PageActions, asker: Asker, concerts: Path) -> None:
    picked = Picked("concert", "test_0", None)
    shown = actions.ask(picked, FIRST)
    wanted = asker.ask(asker.watch(concerts / "videos" / "test_0.mp4"), FIRST, 5)
    assert shown.probabilities == dict(wanted.ranked)
    right = wanted.ranked[0][0] == "two"
    assert ("The model is right" in shown.message) == right
    assert ("The model is wrong. True is: two." in shown.message) == (not right)
    assert shown.picture.startswith('<div class="looked"><img src="data:image/png;base64,')
    other = actions.ask(picked, SECOND)
    assert other.picture != shown.picture
    assert actions.ask(picked, "What is this?").message == ""


def test_a_clip_is_encoded_once(actions: PageActions, asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, frames = list[Path](), list[tuple[int, int]]()
    real = Asker.watch

    def watch(self: Asker, video: Path, on_frame: Any = None) -> Any:
        watched.append(video)
        return real(self, video, on_frame)

    monkeypatch.setattr(Asker, "watch", watch)
    for question in (FIRST, SECOND):
        actions.ask(Picked("concert", "test_0", None), question, lambda *told: frames.append(told))
    assert len(watched) == 1
    assert frames == [(1, 2), (2, 2)]


@pytest.mark.slow
def test_few_clips_stay_encoded(actions: PageActions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.avqa.page_actions._KEPT_CLIPS", 1)
    for name in ("test_0", "test_1"):
        actions.ask(Picked("concert", name, None), FIRST)
    assert [path.name for path in actions._clips] == ["test_1.mp4"]


@pytest.mark.parametrize("concert", [None, "train_0", "test_2", "../test_0", "/etc/hostname"])
def test_nothing_but_the_offered_concerts_can_be_picked(actions: PageActions, concert: str | None) -> None:
    shown = actions.ask(Picked("concert", concert, None), FIRST)
    assert "Pick a concert or upload a clip first." in shown.message
    assert shown.probabilities is None


def test_an_upload_is_asked_and_then_removed(actions: PageActions, upload: Path) -> None:
    assert _taken(actions, upload) is None
    picked = Picked("upload", "test_0", upload)
    assert "Choose a question" in actions.look(picked, "").message
    shown = actions.look(picked, FIRST)
    # What is true of the concert is not said of the upload.
    assert shown.message == ""
    assert shown.probabilities is not None
    actions.hold("visitor", None)
    assert not upload.parent.exists()
    gone = actions.ask(picked, FIRST)
    assert "own clip.mp4 is no longer here" in gone.message


def test_another_upload_takes_the_place(actions: PageActions, upload: Path, tmp_path: Path) -> None:
    (tmp_path / "4567").mkdir()
    other = write_video(tmp_path / "4567" / "other.mp4", seconds=1)
    assert _taken(actions, upload) is None
    assert _taken(actions, upload) is None
    assert upload.exists()
    assert _taken(actions, other) is None
    assert not upload.exists()
    assert other.exists()


def test_a_file_that_two_hold_stays(upload: Path, tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 2**24)
    uploads.hold("one", upload)
    uploads.hold("two", upload)
    assert uploads.hold("one", None) == []
    assert upload.exists()
    assert uploads.hold("two", None) == [upload]
    assert not upload.exists()
    assert uploads.hold("two", None) == []


def test_no_visitor_removes_what_is_not_an_upload(upload: Path, tmp_path: Path) -> None:
    """The page's own copy of a concert, the folder itself, and a file elsewhere, named in a request."""
    page = tmp_path / "page"
    (page / "0123").mkdir(parents=True)
    copy = write_video(page / "0123" / "test_0.mp4", seconds=1)
    uploads = Uploads(page, 2**24)
    uploads.own(copy)
    for named in (copy, page, page / "0123", upload, page / "0123" / ".." / ".." / "0123" / upload.name):
        uploads.hold("visitor", named)
        assert uploads.hold("visitor", None) == []
    assert copy.exists()
    assert upload.exists()


def test_a_path_is_an_upload_only_where_uploads_lie(tmp_path: Path) -> None:
    page = tmp_path / "page"
    (page / "0123").mkdir(parents=True)
    (page / "link").symlink_to(tmp_path)
    uploads = Uploads(page, 2**24)
    assert uploads.contains(f"{page}/0123/clip.mp4")
    for path in (
        "",
        "\0",
        "clip.mp4",
        str(page),
        f"{page}/clip.mp4",
        f"{page}/link/clip.mp4",
        f"{page}/0123/../../a/b",
    ):
        assert not uploads.contains(path)


def test_visitors_who_hold_too_much_lose_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.avqa.uploads._MOST_HELD", 2)
    uploads, paths = Uploads(tmp_path, 2**24), []
    for number in range(3):
        paths.append(tmp_path / str(number) / "clip.mp4")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(b"x")
    uploads.hold("0", paths[0])
    uploads.hold("1", paths[1])
    assert uploads.hold("2", paths[2]) == [paths[0]]
    assert [path.exists() for path in paths] == [False, True, True]


def test_uploads_have_only_so_much_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(tmp_path, 1000)
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "clip.mp4").write_bytes(bytes(300))
    assert uploads.room(100)
    assert not uploads.room(101)
    uploads.own(tmp_path / "0" / "clip.mp4")
    assert uploads.room(400)
    monkeypatch.setattr("examples.avqa.uploads._MOST_FILES", 2)
    assert not uploads.room(1)
    # What lies there too long is removed, but for what is the page's own.
    monkeypatch.setattr("examples.avqa.uploads.KEPT_S", -1)
    assert uploads.room(1000)
    assert [path.exists() for path in sorted(tmp_path.glob("*/clip.mp4"))] == [True]


def test_what_a_broken_off_upload_leaves_is_removed(upload: Path, tmp_path: Path) -> None:
    (tmp_path / "tmpabcdefgh").write_bytes(b"half")
    Uploads(tmp_path, 2**24).sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["0123"]


def test_a_concert_that_is_a_link_elsewhere_is_not_offered(concerts: Path, asker: Asker, tmp_path: Path) -> None:
    """Visitors would be sent whatever it leads to."""
    shutil.copy(concerts / "test.json", tmp_path)
    (tmp_path / "videos").mkdir()
    shutil.copy(concerts / "videos" / "test_1.mp4", tmp_path / "videos")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "videos" / "test_0.mp4").symlink_to(tmp_path / "secret")
    assert list(rendered_concerts(tmp_path, asker.data, VOCABULARY)) == ["test_1"]


def test_a_question_without_end_is_told(actions: PageActions) -> None:
    """It would be drawn into the picture letter by letter."""
    shown = actions.ask(Picked("concert", "test_0", None), "a" * 501)
    assert "question: it has 501 letters; ask in 500 at most" in shown.message
    assert shown.picture == ""


def _hello(path: Path) -> None:
    path.write_text("hello")


def _long(path: Path) -> None:
    write_video(path, seconds=6)


def _large(path: Path) -> None:
    path.write_bytes(bytes(1_300_000))


def _sound(path: Path) -> None:
    write_video(path, picture=False)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_hello, "upload.mp4 is not a readable video"),
        (_sound, "upload.mp4 has no picture stream"),
        (_long, "upload.mp4 lasts 6.0 s, and this page takes 5 s at most; .*--max_seconds"),
        (_large, "upload.mp4 has 1.2 MB, and this page takes 1 MB at most; .*--max_upload_mb"),
    ],
)
def test_what_cannot_be_taken(
    actions: PageActions, tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "0123" / "upload.mp4"
    path.parent.mkdir()
    write(path)
    refused = _taken(actions, path)
    assert refused is not None
    assert re.search(message, refused.message)
    assert 'role="alert"' in refused.message
    assert str(tmp_path) not in refused.message
    assert not path.exists()


def test_a_damaged_clip_is_told_when_it_is_encoded(actions: PageActions, tmp_path: Path) -> None:
    """Its header is whole: only decoding finds it."""
    path = write_video(tmp_path / "cut.mp4", seconds=4, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert _taken(actions, path) is None
    for question in ("", FIRST):
        shown = actions.look(Picked("upload", None, path), question)
        assert re.search(r"cut\.mp4 is (cut off|damaged)", shown.message)
        assert str(tmp_path) not in shown.message


def test_errors_are_the_command_lines(actions: PageActions, tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = actions.ask(Picked("concert", "test_0", None), " ? ")
    video = actions.concerts["test_0"].video
    assert main(["answer", str(video), " ? ", "--run", str(tiny_run)]) == 2
    error = capsys.readouterr().err.removeprefix("error: ").strip()
    assert error.replace('"', "&quot;") in shown.message
    assert told(UserError(f"{video} is broken"), video) == "test_0.mp4 is broken"


def test_what_is_shown_is_escaped(actions: PageActions) -> None:
    shown = actions.ask(Picked("concert", "test_0", None), 'Is <b>"this"</b> it?')
    assert "<b>" not in shown.picture
    assert "&lt;b&gt;&quot;this&quot;" in shown.picture


def test_the_folder_of_uploads_is_removed_and_so_are_those_of_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"gaussian-moe-serve-{dead.pid}-left", f"gaussian-moe-serve-{os.getppid()}-runs", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip.mp4").write_bytes(b"x")
    with upload_folder() as folder:
        assert folder.parent == tmp_path
        (folder / "clip.mp4").write_bytes(b"x")
        assert not (tmp_path / f"gaussian-moe-serve-{dead.pid}-left").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"gaussian-moe-serve-{os.getppid()}-runs", "others"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="of Unix")
def test_signals_stop_the_page_but_for_those_that_were_ignored() -> None:
    """`nohup` ignores what a closed terminal sends."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for ignored in (False, True):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
            with pytest.raises(KeyboardInterrupt), _ended_by_signals():
                signal.raise_signal(signal.SIGTERM)
            with _ended_by_signals():
                assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == ignored
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGHUP) is (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_who_can_reach_the_page() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.2", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))
    assert guarded_hosts("0.0.0.0") is None
    assert guarded_hosts("127.0.0.1") == frozenset({"localhost", "127.0.0.1", "::1"})


def test_gradio_reports_nothing() -> None:
    told_to = settings("127.0.0.1", Path("folder"))
    assert told_to["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert told_to["GRADIO_TEMP_DIR"] == "folder"
    assert "127.0.0.1" in told_to["NO_PROXY"]


def test_a_port_in_use_is_told_before_the_model_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--run", str(tmp_path), "--port", str(port)]) == 2
    assert capsys.readouterr().err == f"error: port: {port} is in use on 127.0.0.1; choose another with --port\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"port": 0}, "port must be in 1 ... 65535, got 0"),
        ({"max_upload_mb": 0}, "max_upload_mb must be at least 1"),
        ({"max_seconds": 0}, "max_seconds must be at least 1"),
        ({"host": "192.0.2.1"}, "host: 192.0.2.1 cannot be listened on"),
        ({}, "train one with: python -m examples.avqa fit"),
    ],
)
def test_what_cannot_be_served(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=message):
        serve(**({"run": tmp_path, "port": port} | arguments))
    assert everything(tmp_path) == {}


def test_without_gradio_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=re.escape('pip install -c constraints.txt -e ".[serve]"')):
        serve()


def test_an_unknown_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match="host: nowhere is unknown"):
        check_address("nowhere", 7860)
