"""Reading MUSIC-AVQA's annotations: every habit of the published files, and every fault a file can have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples.avqa.annotations import QUESTION_TYPES, Question, Vocabulary, load_questions, load_vocabulary
from examples.avqa.errors import UserError

VOCABULARY = Vocabulary(("yes", "no", "two", "acoustic_guitar"), Path("answer2idx.json"))


def record(**changes: Any) -> dict[str, Any]:
    """A v1 record, with keys changed, or dropped where the change is `...`."""
    keys = {
        "video_id": "00000108",
        "question_id": 10,
        "type": '["Audio", "Comparative"]',
        "question_content": "Is the <Object> louder than the <Object>?",
        "templ_values": '["acoustic_guitar", "piano"]',
        "question_deleted": 0,
        "anser": "yes",
    }
    return {key: value for key, value in {**keys, **changes}.items() if value is not ...}


def read(tmp_path: Path, *records: Any) -> list[Question]:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return load_questions(path, VOCABULARY)


def test_a_v1_record(tmp_path: Path) -> None:
    assert read(tmp_path, record()) == [
        Question(
            video_id="00000108",
            question_id="10",
            modality="Audio",
            kind="Comparative",
            text="Is the acoustic_guitar louder than the piano",
            template="Is the <Object> louder than the <Object>?",
            answer="yes",
            topic="",
        )
    ]


def test_a_v2_record_with_its_extra_keys_is_read_like_a_v1_record(tmp_path: Path) -> None:
    v2 = record(
        question_id=10.0,
        question_deleted=...,
        templ_values=["acoustic_guitar", "piano"],
        type=["Audio", "Comparative"],
        anser=...,
        answer="yes",
        unmatch_audio=0,
        person=None,
        topic="louder",
    )
    (plain,) = read(tmp_path, record())
    (question,) = read(tmp_path, v2)
    assert question.topic == "louder"
    assert question == Question(**{**vars(plain), "topic": "louder"})


def test_values_in_python_quotes_are_read_as_the_published_readers_do(tmp_path: Path) -> None:
    (question,) = read(tmp_path, record(templ_values="['acoustic_guitar', 'piano']"))
    assert question.text == "Is the acoustic_guitar louder than the piano"


@pytest.mark.parametrize(
    ("content", "values", "text"),
    [
        ("How many sounding <Object> in the video？", ["tuba"], "How many sounding tuba in the video"),
        ("What kind is the <LRer> instrument? ", ["leftest"], "What kind is the leftest instrument"),
        ("  Is there a voiceover", [], "Is there a voiceover"),
        ("Is there a voiceover ?", [], "Is there a voiceover"),
        ("Say which sounds first.", [], "Say which sounds first"),
        ("Louder than the <Object>?", ["piano"], "Louder than the piano"),
        ("Is <Object>'s sound <FL>, then?", ["piano", "first"], "Is piano sound first then"),
        ("Is the <Object> on?", ["double bass"], "Is the double bass on"),
    ],
)
def test_question_text(tmp_path: Path, content: str, values: list[str], text: str) -> None:
    (question,) = read(tmp_path, record(question_content=content, templ_values=json.dumps(values)))
    assert question.text == text


def test_deleted_questions_are_kept_in_order(tmp_path: Path) -> None:
    questions = read(tmp_path, record(question_id=1), record(question_id=2, question_deleted=1))
    assert [question.question_id for question in questions] == ["1", "2"]


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ([..., None, float("nan"), True], ["record-1", "record-2", "record-3", "record-4"]),
        ([7, 7.0, "7", 8], ["7", "record-2", "record-3", "8"]),
        (["", "record-1", 7.5], ["record-1-again", "record-1", "record-3"]),
    ],
)
def test_question_ids_are_unique_in_a_file(tmp_path: Path, given: list[Any], read_as: list[str]) -> None:
    questions = read(tmp_path, *(record(question_id=value) for value in given))
    assert [question.question_id for question in questions] == read_as


@pytest.mark.parametrize(
    ("given", "read_as"),
    [("00000093", "00000093"), (93, "93"), ("-dQw4w9WgXc", "-dQw4w9WgXc"), ("a_b-c_flip", "a_b-c_flip")],
)
def test_video_ids(tmp_path: Path, given: Any, read_as: str) -> None:
    (question,) = read(tmp_path, record(video_id=given))
    assert question.video_id == read_as


def test_the_nine_types_have_the_papers_names_in_the_papers_order(tmp_path: Path) -> None:
    questions = read(tmp_path, *(record(question_id=..., type=json.dumps(key)) for key in QUESTION_TYPES))
    names = "A-Count A-Comp V-Count V-Loc AV-Exist AV-Count AV-Loc AV-Comp AV-Temp"
    assert " ".join(question.short_type for question in questions) == names
    assert (questions[3].modality, questions[3].kind) == ("Visual", "Location")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_id": ...}, "record 2 lacks the key 'video_id'"),
        ({"type": ...}, "record 2 lacks the key 'type'"),
        ({"question_content": ...}, "record 2 lacks the key 'question_content'"),
        ({"templ_values": ...}, "record 2 lacks the key 'templ_values'"),
        ({"anser": ...}, "record 2 lacks the key 'anser'"),
        ({"type": "Audio"}, "record 2 has the type 'Audio'"),
        ({"type": '["Audio"]'}, "wants two names"),
        ({"type": '["Sound", "Counting"]'}, "unknown type Sound Counting; known are Audio Counting"),
        ({"type": '["Audio", "Temporal"]'}, "unknown type Audio Temporal"),
        ({"templ_values": "piano"}, "templ_values 'piano'"),
        ({"templ_values": "[1, 2]"}, "wants a list of strings"),
        ({"templ_values": '["piano"]'}, "record 2 has 2 placeholders in"),
        ({"templ_values": '["piano", "tuba", "drum"]'}, "but 3 templ_values"),
        ({"question_content": "?", "templ_values": "[]"}, "wants a question"),
        ({"question_content": 5}, "has a number as question_content"),
        ({"anser": "maybe"}, "record 2 has the answer 'maybe', which is not among the 4 answers of answer2idx"),
        ({"anser": None}, "has null as anser"),
        ({"video_id": "../00000093"}, "cannot be a file's name"),
        ({"video_id": "a\\b"}, "cannot be a file's name"),
        ({"video_id": ".."}, "cannot be a file's name"),
        ({"video_id": ""}, "cannot be a file's name"),
        ({"video_id": "a\0"}, "cannot be a file's name"),
        ({"video_id": 1.5}, "has a number as video_id"),
        ({"topic": 3}, "has a number as topic"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        read(tmp_path, record(), record(**change))
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "questions.json"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[\n {"video_id": }]', "is not JSON: Expecting value at line 2, column 15"),
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b'{"ans2ix": {}}', "holds an object; annotations are a list"),
        (b"[]", "empty list"),
        (b"[3]", "record 1 is a number"),
    ],
)
def test_a_file_that_holds_no_records(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "questions.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_questions(path, VOCABULARY)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json does not exist; it should hold the annotations"):
        load_questions(tmp_path / "nowhere.json", VOCABULARY)
    with pytest.raises(UserError, match="is a folder"):
        load_vocabulary(tmp_path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps([record()]), encoding="utf-8-sig")
    assert len(load_questions(path, VOCABULARY)) == 1


def test_vocabulary_is_in_the_order_of_its_indices(tmp_path: Path) -> None:
    path = tmp_path / "answer2idx.json"
    path.write_text('{"ans2ix": {"two": 2, "yes": 0, "no": 1}, "max_que_len": 24}', encoding="utf-8")
    vocabulary = load_vocabulary(path)
    assert vocabulary.answers == ("yes", "no", "two")
    assert [vocabulary.index(answer) for answer in vocabulary.answers] == [0, 1, 2]
    assert len(vocabulary) == 3
    assert "two" in vocabulary
    assert "three" not in vocabulary
    with pytest.raises(UserError, match=r"'three' is not among the 3 answers of .*answer2idx\.json"):
        vocabulary.index("three")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"yes": 0}', "is not an answer index"),
        ('["yes"]', "is not an answer index"),
        ('{"ans2ix": {}}', "is not an answer index"),
        ('{"ans2ix": {"yes": 1, "no": 2}}', "'no' has the index 2; 2 answers want the whole numbers 0 to 1"),
        ('{"ans2ix": {"yes": 0, "no": 0}}', "'yes' and 'no' share the index 0"),
        ('{"ans2ix": {"yes": true, "no": 0}}', "'yes' has the index True"),
        ('{"ans2ix": {"yes": -1}}', "'yes' has the index -1"),
    ],
)
def test_a_vocabulary_that_is_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "answer2idx.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_vocabulary(path)
