"""The `serve` command: a page to ask on, for this machine."""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .annotations import Vocabulary
from .answering import DEFAULT_RUN, Asker
from .config import NAMES
from .errors import UserError
from .rendered import rendered_concerts
from .uploads import Limits, Uploads, upload_folder


def serve(
    run: Path = DEFAULT_RUN,
    concerts: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_upload_mb: int = 100,
    max_seconds: int = 180,
    open_browser: bool = False,
    weights: Path | None = None,
) -> None:
    """Open a page to ask on: pick a rendered concert or upload a clip, and ask.

    The page shows the most probable answers, the clip, and the picture that `answer` draws: frames, waveform and the
    experts' Gaussians. About a rendered concert it also says what is true. Ctrl-C stops it.

    Only this machine can open it. Uploads go to a temporary folder of its own; each is removed when another takes its
    place, when its visitor leaves, after an hour, and all of them when the page stops. Nothing is sent anywhere.

    Args:
        run: folder that `fit` wrote; nothing is written into it.
        concerts: folder that `concert` wrote, whose test concerts can be picked; by default the one whose test.json
            the run names, where it is still there.
        host: address to listen on. Anything but this machine's own lets others upload files to it.
        port: port to listen on.
        max_upload_mb: largest file that is taken, in units of 2^20 bytes.
        max_seconds: longest clip that is taken.
        open_browser: whether to open the page in this machine's browser.
        weights: folder of the weights of preset paper, see `extract --help`, for a model that was trained with it; by
            default the run's own, or the hub's.
    """
    limits = Limits(max_upload_mb, max_seconds)
    if importlib.util.find_spec("gradio") is None:
        raise UserError('serve needs Gradio; install it with: pip install -c constraints.txt -e ".[serve]"')
    check_address(host, port)
    print(f"Loading {run} and its encoders ...", flush=True)
    asker = Asker(run, weights)
    offered = rendered_concerts(concerts, asker.data, Vocabulary(tuple(asker.module.answers), run))
    if not offered:
        print("No concerts to pick, only uploads: the run's own are gone. Name others with --concerts FOLDER.")
    if not is_loopback(host):
        print(f"warning: --host {host} lets anyone on the network open this page and upload files", file=sys.stderr)
    architecture = NAMES[asker.module.config.architecture]
    with upload_folder() as folder, _environment(settings(host, folder)), _ended_by_signals():
        from starlette.middleware import Middleware

        from .guard import Guard, Page
        from .page import build_page, calls, look
        from .page_actions import PageActions

        uploads = Uploads(folder, limits.bytes_of_all)
        actions = PageActions(asker, offered, limits, uploads)
        page = build_page(actions, limits, f"{architecture}, run {run.resolve().name},")
        guarded = Page(guarded_hosts(host), limits, uploads, calls(page))
        try:
            _, address, _ = page.launch(
                server_name=f"[{host}]" if ":" in host else host,
                server_port=port,
                share=False,
                quiet=True,
                inbrowser=open_browser,
                prevent_thread_lock=True,
                allowed_paths=[str(concert.video.resolve()) for concert in offered.values()],
                max_file_size=limits.bytes,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                mcp_server=False,
                ssr_mode=False,
                pwa=False,
                num_workers=0,
                state_session_capacity=64,
                app_kwargs={"middleware": [Middleware(Guard, page=guarded)]},
                **look(),
            )
            print(f"Page: {address}\nCtrl-C stops it and removes what was uploaded.", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")
        finally:
            page.close(verbose=False)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, which no other can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guarded_hosts(host: str) -> frozenset[str] | None:
    """The names under which a page on this address may be asked for; None for any."""
    return frozenset({"localhost", "127.0.0.1", "::1", host}) if is_loopback(host) else None


def check_address(host: str, port: int) -> None:
    """Tells an address that cannot be listened on before the model is read.

    Raises:
        UserError: the port is in use or out of range, or the host is not this machine's.
    """
    if not 1 <= port <= 65535:
        raise UserError(f"port must be in 1 ... 65535, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probed:
            # As servers do: a port whose last connections are still closing is free.
            probed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probed.bind((host, port))
    except PermissionError:
        raise UserError(f"port: {port} may not be used by this user; choose one above 1023 with --port") from None
    except socket.gaierror as error:
        raise UserError(f"host: {host} is unknown ({error.strerror}); name an address of this machine") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port: {port} is in use on {host}; choose another with --port") from None
        raise UserError(f"host: {host} cannot be listened on ({error.strerror}); name one of this machine") from None


def settings(host: str, folder: Path) -> Mapping[str, str]:
    """Environment variables under which Gradio reports nothing, and keeps its files in our folder."""
    # Gradio asks its own address once, which a proxy for the web would not reach.
    own = ",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost", "127.0.0.1", host]))
    return {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRADIO_TEMP_DIR": str(folder),
        "NO_PROXY": own,
        "no_proxy": own,
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A signal that asks the process to end stops the page as Ctrl-C does, so that uploads are removed.

    What was ignored when the process began stays so (nohup).
    """

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = [(number, signal.signal(number, stop)) for number in heard]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
