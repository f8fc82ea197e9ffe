"""The page itself, started as a user starts it, in a folder of its own, and watched from inside.

A hook that Python calls at every file it opens, every address it connects to and every program it starts notes all
that the server does outside its own folders.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from docs.picture_of_serve import free_port
from tests.examples.tiny_run import everything, train_tiny, write_data
from tests.examples.tiny_videos import write_video

from .raw_http import exchange, request

ROOT = Path(__file__).resolve().parents[2]
SECRET = "b7f3e0a4-nobody-may-read-this"
"""Stands in every file that the page may not serve, and in the server's environment."""
_PATIENCE_S = 300
_WATCH = """
import os, sys

_log = os.open(os.environ["WATCHED_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_own = tuple(os.environ["WATCHED_OWN"].split(os.pathsep))
_here = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "::", None, ""}
_writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def _watch(event, arguments):
    told = ""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in _here:
            told = f"connects to {address}"
    elif event == "socket.getaddrinfo":
        if arguments[0] not in _here:
            told = f"looks up {arguments[0]!r}"
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"):
        # Fonts are looked for once, at the start.
        told = "" if "fc-list" in str(arguments[0]) else f"starts {event} {arguments[:2]!r:.200}"
    elif event in ("open", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.truncate"):
        path, changes = arguments[0], True
        if event == "open":
            flags = arguments[2]
            changes = bool(isinstance(flags, int) and flags & _writes)
        if changes and isinstance(path, (str, bytes, os.PathLike)):
            # Of these the folder that a name is relative to is the last argument, of a rename the third.
            last = -1 if event in ("open", "os.truncate") else arguments[2 if event == "os.rename" else -1]
            where = last if isinstance(last, int) and last >= 0 else None
            base = os.getcwd() if where is None else os.readlink(f"/proc/self/fd/{where}")
            name = os.path.normpath(os.path.join(base, os.fsdecode(path)))
            # Gradio writes the seed of its file names beside itself, once in an environment.
            seed = name.endswith("/site-packages/gradio/hash_seed.txt")
            if not name.startswith(_own) and "__pycache__" not in name and not name.startswith("/dev/") and not seed:
                told = f"{event} {name}"
    if told:
        os.write(_log, (told.replace("\\n", " ") + "\\n").encode("utf-8", "replace"))


sys.addaudithook(_watch)
"""


@dataclass
class Site:
    """The page that runs, and what lies around it."""

    port: int
    folder: Path
    temporary: Path
    """Where the server's temporary folders are."""
    run: Path
    concerts: Path
    process: subprocess.Popen[bytes]
    before: dict[str, bytes]
    """Every file around the page as it was."""
    functions: dict[int, list[str]] = field(default_factory=dict)
    """The page's functions, and the kinds of what each takes."""
    asks: int = -1
    """The function behind the button."""

    @property
    def secrets(self) -> list[Path]:
        """Files that nobody may be sent."""
        return [
            self.run / "settings.json",
            self.run / "best.ckpt",
            self.concerts / "test.json",
            self.folder / "secret.txt",
            self.temporary / "secret.txt",
            Path("/etc/passwd"),
            Path("/proc/self/environ"),
            ROOT / "pyproject.toml",
        ]

    @property
    def uploads(self) -> Path:
        """The page's own folder."""
        (found,) = self.temporary.glob("gaussian-moe-serve-*")
        return found

    def log(self) -> str:
        """What the server said."""
        return (self.folder / "log.txt").read_text(errors="replace")

    def watched(self) -> list[str]:
        """What it did outside its folders, each once."""
        path = self.folder / "watched.txt"
        return sorted(set(path.read_text(errors="replace").splitlines())) if path.exists() else []

    def clip(self, name: str = "clip.mp4") -> Path:
        """A video to upload."""
        return self.folder / "clips" / name

    def changed(self) -> list[str]:
        """Files around the page that are not as they were."""
        now = around(self.folder)
        return sorted(name for name in self.before.keys() | now.keys() if self.before.get(name) != now.get(name))


def around(folder: Path) -> dict[str, bytes]:
    """Every file in the folder but those of the server."""
    own = ("temporary/gaussian-moe-", "temporary/matplotlib-", "log.txt", "watched.txt", "watch/", "cache/")
    return {name: data for name, data in everything(folder).items() if not name.startswith(own)}


@contextmanager
def page_site(folder: Path, megabytes: int = 1) -> Iterator[Site]:
    """Trains a tiny model, writes two concerts, and starts the page on them; at the end it is told to stop."""
    tiny = write_data(folder / "data")
    run = train_tiny(tiny, folder / "run")
    concerts, temporary, clips = folder / "concerts", folder / "temporary", folder / "clips"
    for made in (concerts / "videos", temporary, clips, folder / "watch", folder / "cache"):
        made.mkdir(parents=True)
    shutil.copy(tiny.root / "test.json", concerts)
    for number in range(2):
        write_video(concerts / "videos" / f"test_{number}.mp4", seconds=1 + number)
    write_video(clips / "clip.mp4", seconds=1)
    for place in (folder, temporary):
        (place / "secret.txt").write_text(SECRET)
    settings = json.loads((run / "settings.json").read_text()) | {"secret": SECRET}
    (run / "settings.json").write_text(json.dumps(settings))
    (folder / "watch" / "sitecustomize.py").write_text(_WATCH)
    port = free_port()
    before = around(folder)
    command = [sys.executable, "-m", "examples.avqa", "serve", "--port", str(port), "--run", str(run)]
    command += ["--concerts", str(concerts), "--max_upload_mb", str(megabytes), "--max_seconds", "5"]
    environment = {
        "PYTHONPATH": os.pathsep.join([str(folder / "watch"), str(ROOT)]),
        "WATCHED_LOG": str(folder / "watched.txt"),
        "WATCHED_OWN": os.pathsep.join([str(temporary), str(folder / "cache")]),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MPLCONFIGDIR": str(folder / "cache"),
        "HF_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "SECRET": SECRET,
    }
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
        )
    site = Site(port, folder, temporary, run, concerts, process, before)
    try:
        await_page(site)
        _read_functions(site)
        yield site
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_page(site: Site) -> None:
    """Until the page says where it is.

    Raises:
        RuntimeError: it ended, or took too long.
    """
    end = time.monotonic() + _PATIENCE_S
    while "Page: " not in site.log():
        if site.process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the page did not start: {site.log()}")
        time.sleep(0.1)


def _read_functions(site: Site) -> None:
    told = json.loads(exchange(site.port, request("GET", "/config", site.port)).body)
    kinds = {component["id"]: component["type"] for component in told["components"]}
    for one in told["dependencies"]:
        site.functions[one["id"]] = [kinds[number] for number in one["inputs"]]
        if any(event == "click" for _, event in one["targets"]):
            site.asks = one["id"]
