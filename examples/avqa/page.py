"""The page to ask on: what stands where, and which action follows which event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import gradio as gr

from .page_actions import HINT, TOP, OnFrame, PageActions, Picked, Shown, Source
from .rendered import Concert, common_questions
from .uploads import KEPT_S, Limits

_CSS = """
.told { margin: 0 0 0.5em; }
.told.error { color: var(--error-text-color); border-left: 4px solid currentColor; padding: 0.25em 0.75em; }
.told.right { color: light-dark(#15803d, #4ade80); font-weight: 600; }
.told.wrong { color: light-dark(#b45309, #fbbf24); font-weight: 600; }
.looked { overflow-x: auto; background: white; border-radius: 8px; }
.looked img { display: block; width: 100%; min-width: 760px; }
:root { color-scheme: light; }
.dark { color-scheme: dark; }
"""
_COMMON = 12
# The model answers one question at a time: all that reads it waits in one line.
_ONE_LINE: Final[dict[str, Any]] = {
    "concurrency_limit": 1,
    "concurrency_id": "model",
    "api_visibility": "private",
}
_AT_ONCE: Final[dict[str, Any]] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def look() -> dict[str, Any]:
    """Theme and style, for `launch`: fonts of the visitor's own system, as nothing is loaded from elsewhere."""
    theme = gr.themes.Default(
        primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return {"theme": theme, "css": _CSS}


def calls(page: gr.Blocks) -> Mapping[int, Sequence[str]]:
    """The kinds of the inputs of each function that the page calls."""
    return {number: [block.get_block_name() for block in fn.inputs] for number, fn in page.fns.items()}


def build_page(actions: PageActions, limits: Limits, model: str) -> gr.Blocks:
    """The page.

    Args:
        actions: what it does.
        limits: of uploads, told to the visitor.
        model: what answers, in words.
    """
    concerts = actions.concerts
    first = next(iter(concerts), None)
    common = common_questions(list(concerts.values()), _COMMON)
    page = gr.Blocks(title="Ask about a clip", analytics_enabled=False, delete_cache=(60, KEPT_S))
    with page:
        gr.Markdown(f"# Ask about a clip\n{model} answers, and shows when its experts look and listen.")
        source = gr.State("concert" if concerts else "upload")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                with gr.Tab("A rendered concert", visible=bool(concerts)) as concert_tab:
                    concert = gr.Dropdown(list(concerts), value=first, label="Concert (synthetic, of the test split)")
                    stage = gr.Video(
                        first and str(concerts[first].video),
                        show_label=False,
                        interactive=False,
                        height=240,
                        buttons=[],
                    )
                with gr.Tab("Your own clip") as upload_tab:
                    upload = gr.Video(
                        sources=["upload"],
                        label=f"At most {limits.megabytes} MB and {limits.seconds} s",
                        height=300,
                        buttons=[],
                    )
            with gr.Column(scale=3, min_width=300):
                listed = gr.Dropdown(
                    concerts[first].questions if first else [],
                    value=None,
                    label="Choose a question",
                    visible=bool(concerts),
                )
                question = gr.Textbox("", label="or type one", placeholder="Which instrument is the first to come in?")
                button = gr.Button("Ask", variant="primary")
                message = gr.HTML(HINT, elem_id="message", padding=False)
                answers = gr.Label(num_top_classes=TOP, label="Answer", elem_id="answers")
        picture = gr.HTML(elem_id="picture", padding=False)
        if isinstance(stage.value, dict):
            actions.uploads.own(Path(stage.value["path"]))

        asked = [source, concert, upload, question]
        shown = [message, answers, picture]

        def asking(act: Callable[[Picked, str, OnFrame], Shown]) -> Callable[..., Shown]:
            def fn(
                source: Source,
                concert: str | None,
                upload: str | None,
                question: str,
                progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio looks for it here
            ) -> Shown:
                return act(Picked(source, concert, _path(upload)), question, _bar(progress))

            return fn

        ask, again = asking(actions.ask), asking(actions.look)

        def choose_concert(concert: str | None) -> tuple[str | None, gr.Dropdown]:
            chosen = concerts.get(concert or "")
            return chosen and staged(chosen), gr.Dropdown(chosen.questions if chosen else [], value=None)

        def staged(chosen: Concert) -> str:
            # Gradio serves a copy, which lies beside the uploads.
            copy = str(stage.move_resource_to_block_cache(chosen.video))
            actions.uploads.own(Path(copy))
            return copy

        def take(
            upload: str | None,
            question: str,
            request: gr.Request,
            progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio looks for it here
        ) -> tuple[str | None, str, dict[str, float] | None, str]:
            if upload is None:
                return None, *Shown(HINT)
            refused = actions.take(request.session_hash or "", Path(upload))
            if refused is not None:
                return None, *refused
            return upload, *actions.look(Picked("upload", None, Path(upload)), question, _bar(progress))

        def hold(upload: str | None, request: gr.Request) -> None:
            actions.hold(request.session_hash or "", _path(upload))

        def drop(request: gr.Request) -> Shown:
            actions.hold(request.session_hash or "", None)
            return Shown("")

        def leave(request: gr.Request) -> None:
            actions.hold(request.session_hash or "", None)

        ways = {"outputs": shown, "show_progress_on": answers, **_ONE_LINE}
        concert.input(choose_concert, concert, [stage, listed], **_AT_ONCE).then(again, asked, **ways)
        listed.input(lambda chosen: chosen, listed, question, **_AT_ONCE).then(ask, asked, **ways)
        gr.on([question.submit, button.click], ask, asked, **ways)
        # Held before anything waits in line: who leaves meanwhile leaves no file.
        upload.upload(hold, upload, None, **_AT_ONCE).then(
            take, [upload, question], **(ways | {"outputs": [upload, *shown]})
        )
        upload.clear(drop, None, shown, **_AT_ONCE)
        concert_tab.select(
            lambda concert: ("concert", choose_concert(concert)[1]), concert, [source, listed], **_AT_ONCE
        ).then(again, asked, **ways)
        upload_tab.select(lambda: ("upload", gr.Dropdown(common, value=None)), None, [source, listed], **_AT_ONCE).then(
            again, asked, **ways
        )
        page.unload(leave)
    page.queue(max_size=16, default_concurrency_limit=1, api_open=False)
    return page


def _path(upload: str | None) -> Path | None:
    return Path(upload) if upload else None


def _bar(progress: gr.Progress) -> OnFrame:
    return lambda done, count: progress((done, count), desc="reading the clip", unit="seconds")
