"""Files that fuzzing found to break something, each with a clear error now: JSON, CSV, arrays, stores, YAML."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import record
from benchmarks.errors import UserError as BenchmarkError
from examples.avqa.annotations import load_vocabulary, read_json, read_questions
from examples.avqa.array_file import mapped_array
from examples.avqa.cli import main
from examples.avqa.concert.build import _check_folder
from examples.avqa.concert.scene import read_scenes
from examples.avqa.concert.settings import ConcertSettings
from examples.avqa.config import DataConfig, ModelConfig, OptimizerConfig, TrainerConfig
from examples.avqa.errors import LONGEST, UserError
from examples.avqa.features import FeatureFolder
from examples.avqa.fit import check_run, load_settings, run_settings
from examples.avqa.given_answers import read_answers
from examples.avqa.metrics_file import read_metrics
from examples.avqa.pack_journal import Journal, signed
from examples.avqa.results import Prediction, accuracy_table, markdown_row, read_tables, tables_to_json, to_markdown
from examples.avqa.run_data import load_data_config
from examples.avqa.store_index import Layout, StoredModality, StoreIndex
from tests.stress.fuzz.npy_changes import packed
from tests.stress.fuzz.parsers import load

DEEP = "[" * 100_000
DIGITS = "9" * 5000
HALF = '"\\ud800"'
SHAPES: Any = {"audio": (5,), "video": (4,), "patches": (2, 3)}
FOLDERS: Any = {"audio": "sound", "video": "frames", "patches": "patches"}


def _index(path: Path) -> object:
    folder = path.parent / "index"
    folder.mkdir()
    path.rename(folder / "a.json")
    path.symlink_to(folder / "a.json")
    return FeatureFolder(path.parent, FOLDERS).index("a")


def _renamed(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    def reader(path: Path) -> object:
        path.rename(path.parent / name)
        path.symlink_to(path.parent / name)
        return read(path.parent)

    return reader


READERS: dict[str, Callable[[Path], object]] = {
    "annotations": lambda path: read_questions(path, None),
    "answer index": load_vocabulary,
    "given answers": read_answers,
    "tables": read_tables,
    "scenes": read_scenes,
    "run settings": _renamed("settings.json", load_settings),
    "concert settings": _renamed("settings.json", lambda folder: _check_folder(folder, ConcertSettings())),
    "feature index": _index,
    "store index": _renamed("store.json", StoreIndex.read),
    "benchmarks": record.read,
}


@pytest.mark.parametrize("text", [DEEP, DIGITS, f"[{DIGITS}]", HALF, f"[{HALF}]", "\ufeff", "1" + "0" * 400])
@pytest.mark.parametrize("reader", READERS)
def test_json_of_any_kind_is_refused_in_one_line(tmp_path: Path, reader: str, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((UserError, BenchmarkError)) as told:
        READERS[reader](path)
    message = str(told.value)
    assert str(tmp_path) in message
    assert message.isprintable()
    assert len(message) <= LONGEST


def test_a_message_is_one_line_however_long_the_value(tmp_path: Path) -> None:
    message = str(UserError(f"{tmp_path}: \x1b[2J\n{'x' * 100_000}; mend it"))
    assert message.startswith(f"{tmp_path}: \\x1b[2J\\nxxx")
    assert message.endswith("xxx; mend it")
    assert len(message) == LONGEST


def _annotated(tmp_path: Path, **fields: Any) -> list[str]:
    record = {
        "video_id": "a",
        "question_id": 0,
        "type": '["Audio", "Counting"]',
        "question_content": "How many <Object> sound?",
        "templ_values": "['flute']",
        "anser": "two",
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps([record | fields]))
    return read_questions(path, None)[1]


@pytest.mark.parametrize(
    "value", [DEEP, "-" * 100_000 + "1", "(" * 5000, "{[]: 1}", "~" * 3000 + "1", "['\\ud800']", "['\\N{x}']", DIGITS]
)
def test_lists_that_are_written_as_text_are_not_evaluated(tmp_path: Path, value: str) -> None:
    (fault,) = _annotated(tmp_path, templ_values=value)
    assert "it wants a list of strings" in fault
    (fault,) = _annotated(tmp_path, type=value)
    assert "record 1 has the type" in fault


@pytest.mark.parametrize("key", ["anser", "question_content", "topic"])
def test_text_that_csv_cannot_hold_is_told(tmp_path: Path, key: str) -> None:
    (fault,) = _annotated(tmp_path, **{key: "a\0"})
    assert f"record 1 has a NUL character in {key}" in fault
    (fault,) = _annotated(tmp_path, templ_values='["a\\u0000"]')
    assert "it wants a list of strings" in fault


@pytest.mark.parametrize("value", ["['flute']", '[ "flute" , ]', "[u'flute']", '["flute"]', "['\\x66lute']"])
def test_lists_of_python_are_still_read(tmp_path: Path, value: str) -> None:
    assert _annotated(tmp_path, templ_values=value) == []


@pytest.mark.parametrize("video_id", ["x" * 201, "é" * 101, 10**300])
def test_a_video_id_that_no_file_can_have_is_told(tmp_path: Path, video_id: Any) -> None:
    (fault,) = _annotated(tmp_path, video_id=video_id)
    assert "a file's name has 200 at most" in fault


def test_a_path_that_is_none_is_told() -> None:
    with pytest.raises(UserError, match=r"a\\x00b is no name of a file"):
        read_json(Path("a\0b"), "the annotations")


def _tables(**fields: Any) -> dict[str, Any]:
    whole = tables_to_json({"a": accuracy_table([], [])})
    whole["a"][0] |= fields
    return whole


@pytest.mark.parametrize(
    "fields",
    [
        {"accuracy": 2},
        {"accuracy": float("nan")},
        {"accuracy": 10**400},
        {"accuracy": True},
        {"std": -1.0},
        {"kind": "x"},
        {"kind": []},
        {"count": -1},
        {"count": 10**300},
        {"runs": 1.0},
        {"name": None},
    ],
    ids=str,
)
def test_tables_of_numbers_that_are_none_are_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(_tables(**fields)))
    with pytest.raises(UserError, match="holds no tables of accuracies"):
        read_tables(path)


def test_a_name_cannot_end_the_row_of_a_table() -> None:
    assert markdown_row(["a\nb", "c\r\n|d"]) == "| a b | c \\|d |\n"
    assert to_markdown({"two\nlines": accuracy_table([], [])}).startswith("| type | questions | two lines |\n")


@pytest.mark.parametrize(
    "text",
    ["epoch\n0\n", "epoch,lr,train/loss,val/loss,val/accuracy\nx,1,1,1,1\n", "a\0b", '"', "\xff",
     "epoch,lr,train/loss,val/loss,val/accuracy\n0,1,1,1,x\n", "epoch,lr,train/loss,val/loss,val/accuracy\n0,1,1\n",
     "epoch,lr,train/loss,val/loss,val/accuracy\n0,1,1,1,2\n"],
)  # fmt: skip
def test_metrics_that_are_none_are_told_before_training(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_bytes(text.encode("latin-1"))
    if text == "a\0b":
        assert read_metrics(tmp_path / "metrics.csv") == []
        return
    parts = (DataConfig(Path("a"), Path("b"), Path("c")), ModelConfig(), OptimizerConfig(), TrainerConfig())
    with pytest.raises(UserError, match=r"metrics\.csv is no metrics\.csv of a run"):
        check_run(tmp_path, run_settings(*parts, 713))


@pytest.mark.parametrize(
    "fields", [{"encoder": 5}, {"frames": "x"}, {"folders": ["a"]}, {"train": 3}, {"val": None}, {"train": "a\0b"}]
)
def test_settings_of_a_run_of_another_type_are_told(tmp_path: Path, fields: dict[str, Any]) -> None:
    data = {"answers": "a", "train": "b", "val": "c"} | fields
    (tmp_path / "settings.json").write_text(json.dumps({"data": data}))
    with pytest.raises(UserError, match=rf"of another version of this program \({next(iter(fields))} is no"):
        load_data_config(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"seat": "left"},
        {"segments": [1]},
        {"segments": [[9, 3]]},
        {"segments": [[1, 3], [2, 4]]},
        {"segments": [[1, 31]]},
        {"seed": None},
        {"tilt": 10**400},
        {"x": 1},
    ],
)
def test_scenes_of_another_type_are_told(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "scenes.json"
    scenes = json.loads(load("concert-settings").seeds()[0]["scenes.json"])
    path.write_text(json.dumps(scenes))
    assert len(read_scenes(path)) == 1
    scenes[0]["players"][0] |= fields
    path.write_text(json.dumps(scenes))
    with pytest.raises(UserError, match=r"scenes\.json holds no scenes of concerts"):
        read_scenes(path)


def _features(tmp_path: Path) -> FeatureFolder:
    for name, content in load("feature-arrays").seeds()[0].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return FeatureFolder(tmp_path, FOLDERS)


@pytest.mark.parametrize("fields", [{"frames": "2"}, {"frames": True}, {"frames": 10**30}, {"duration": None}])
def test_an_index_of_features_of_another_type_is_told(tmp_path: Path, fields: dict[str, Any]) -> None:
    folder = _features(tmp_path)
    index = tmp_path / "index" / "a.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | fields))
    with pytest.raises(UserError, match=r"a\.json is no index of features"):
        folder.load("a")


@pytest.mark.parametrize("text", ["[]", "5", '{"a": 1}', DEEP])
def test_a_memory_of_what_was_checked_may_hold_anything(tmp_path: Path, text: str) -> None:
    folder = _features(tmp_path)
    (tmp_path / "checked.json").write_text(text)
    folder.check_values(["a"])
    assert json.loads((tmp_path / "checked.json").read_text())["a"] == folder.stamps("a")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 5), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 5), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 5), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 5), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (3, 5), }",
        "{'descr': '(1000000,1000000)f4', 'fortran_order': False, 'shape': (3, 5), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 6), }",
        "-" * 9000 + "1",
        "[" * 9000,
        "(\n",
        "  1\n 2\n",
        "{[]: 1}",
    ],
)
def test_an_array_whose_header_lies_is_told(tmp_path: Path, header: str) -> None:
    folder = _features(tmp_path)
    path = tmp_path / "sound" / "a.npy"
    path.write_bytes(packed(header, bytes(60)))
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        mapped_array(path)
    with pytest.raises(UserError, match=r"sound/a\.npy: truncated or no array of numbers"):
        folder.load("a")


def test_arrays_of_either_byte_order_are_read(tmp_path: Path) -> None:
    for dtype in (">f4", "<f8", "<f2"):
        np.save(tmp_path / "a.npy", np.ones((2, 3), dtype, order="F"))
        assert np.array_equal(mapped_array(tmp_path / "a.npy"), np.ones((2, 3)))


@pytest.mark.parametrize(
    "change",
    [
        {"settings": []},
        {"left_out": []},
        {"left_out": {"b": 5}},
        {"sources": None},
        {"clips": {"a": {"offset": 0, "frames": 2**62, "real": 1, "crc32": 0}}},
        {"clips": {"a": {"offset": 2**80 * 4096, "frames": 1, "real": 1, "crc32": 0}}},
        {"modalities": {name: {"dtype": "float16", "shape": [2**40, 2**40]} for name in FOLDERS}},
    ],
)
def test_an_index_of_a_store_that_lies_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    for name, content in load("store").seeds()[0].items():
        (tmp_path / name).write_bytes(content)
    value = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps(value | change))
    with pytest.raises(UserError, match="no index of a packed store"):
        StoreIndex.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"offset": 10**30}, {"offset": -4096}, {"offset": "0"}, {"frames": 2**62}, {"frames": 0}, {"crc32": None}],
)
def test_a_journal_of_packing_that_lies_is_not_followed(tmp_path: Path, change: dict[str, Any]) -> None:
    parser = load("pack-journal")
    files = dict(parser.seeds()[0])
    lines = files["packing.jsonl"].split(b"\n")
    entry = json.loads(lines[1].partition(b" ")[2])
    stamps, settings = {entry["video_id"]: entry["stamps"]}, json.loads(lines[0])
    layout = Layout(
        {name: StoredModality("float16" if name != "audio" else "float32", shape) for name, shape in SHAPES.items()}
    )
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert len(Journal(tmp_path, settings).verified(stamps, layout)) == 1
    entry["clip"] |= change
    lines[1] = signed(json.dumps(entry).encode())
    for name, content in (files | {"packing.jsonl": b"\n".join(lines)}).items():
        (tmp_path / name).write_bytes(content)
    assert Journal(tmp_path, settings).verified(stamps, layout) == []


def test_a_journal_whose_lines_changed_is_not_followed(tmp_path: Path) -> None:
    files = dict(load("pack-journal").seeds()[0])
    # As many pages, so that the bytes of the clip are the same.
    files["packing.jsonl"] = files["packing.jsonl"].replace(b'"frames": 3', b'"frames": 4')
    assert files["packing.jsonl"] != load("pack-journal").seeds()[0]["packing.jsonl"]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    head, line, *_ = files["packing.jsonl"].split(b"\n")
    stamps = {"a": json.loads(line.partition(b" ")[2])["stamps"]}
    layout = Layout({name: StoredModality("float16", shape) for name, shape in SHAPES.items()})
    assert Journal(tmp_path, json.loads(head)).verified(stamps, layout) == []


LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "holds more than 20000 values"),
        ("data: &a {train: *a}\n", "stands within what it names"),
        ("out: !!python/object/apply:os.system ['touch canary']\n", "has the tag"),
        ("{" * 500, "nested too deeply"),
        ("- 1\n", "no options but a single value or a list"),
        ("a: b: c\n", "mapping values are not allowed here"),
        ("seed: " + DIGITS, "is no YAML of options"),
        ("seed: 2001-13-45", "is no YAML of options"),
        ('out: "a\\0b"\n', "holds a NUL character"),
        ('out: "\\ud800"\n', "half of a surrogate pair"),
        ("optimiser: {lr: 1}\n", "optimiser"),
        ("seed: x\n", "seed"),
    ],
)
def test_a_config_that_cannot_be_read_is_told(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    try:
        code: object = main(["fit", "--config", str(path)])
    except SystemExit as stopped:
        code = stopped.code
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not os.path.lexists("canary")


@pytest.mark.parametrize("value", ["inf", "1e999", ".inf", "nan"])
@pytest.mark.parametrize("name", ["optimizer.lr", "optimizer.gamma", "optimizer.weight_decay", "model.feature_noise"])
def test_numbers_that_are_not_finite_are_refused(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = main(["fit", *(f"--data.{part}=x.json" for part in ("answers", "train", "val")), "--out=x",
                             f"--{name}={value}"])  # fmt: skip
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert name in capsys.readouterr().err


def test_predictions_hold_any_text(tmp_path: Path) -> None:
    from examples.avqa.results import read_predictions, write_predictions

    (question,) = read_questions_of(tmp_path)
    odd = [replace(question, question_id=str(n), text=text) for n, text in enumerate(("a\rb", "a\nb", 'a"b', ","))]
    given = [Prediction(one, "two", 0.5) for one in odd]
    write_predictions(tmp_path / "predictions.csv", given)
    assert read_predictions(tmp_path / "predictions.csv") == given


def read_questions_of(tmp_path: Path) -> list[Any]:
    """One question."""
    _annotated(tmp_path)
    return read_questions(tmp_path / "train.json", None)[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("seed: null", "seed"),
        ("model: null", "model"),
        ("trainer: {max_epochs: null, gradient_clip_val: null}", "trainer.max_epochs"),
        ("optimizer: {betas: null, lr: null}", "optimizer.lr, optimizer.betas"),
    ],
)
def test_a_null_where_none_can_be_is_told(
    tmp_path: Path, line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"{line}\ndata: {{answers: a, train: t, val: v}}\nout: {tmp_path}/run\n")
    assert main(["fit", "--config", str(config)]) == 2
    wanted = f"error: {told}: null is no value of it; give one, or leave it out for the default\n"
    assert capsys.readouterr().err == wanted
