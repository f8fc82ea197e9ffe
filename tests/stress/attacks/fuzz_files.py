"""Files that may come from anyone, changed in every way: a right result or a clear error in one line."""

from __future__ import annotations

from tests.stress.attack import Attack, Defect, Outcome, Run

_HOLDS = (
    "right, or refused in one line that names the file; under 10 s and 256 MiB each, nothing run or written elsewhere"
)
_TESTS = "tests/examples/test_hostile_files.py"


def _attack(name: str, what: str, parsers: tuple[str, ...], defects: tuple[Defect, ...], sample: int = 60) -> Attack:
    def run(asked: Run) -> Outcome:
        # What it needs is imported when it is run: tests list all attacks.
        from tests.stress.fuzz.campaign import attack

        return attack(asked, parsers)

    return Attack(
        name=name,
        area="Fuzzing",
        tried=what,
        holds=_HOLDS,
        run=run,
        full=10_000 * len(parsers),
        sample=sample * len(parsers),
        defects=defects,
    )


def _broke(test: str, failed: str, changelog: str) -> Defect:
    return Defect(failed, f"{_TESTS}::{test}", changelog)


def _broke_hub(test: str, failed: str, changelog: str) -> Defect:
    return Defect(failed, f"tests/gaussian_moe/test_hub_hostile.py::{test}", changelog)


def _broke_weights(test: str, failed: str, changelog: str) -> Defect:
    return Defect(failed, f"tests/examples/test_hostile_weights.py::{test}", changelog)


_JSON = "test_json_of_any_kind_is_refused_in_one_line"

ATTACKS = (
    _attack(
        "fuzz-annotations",
        "annotation files and answer indices",
        ("annotations", "answer-index"),
        (
            _broke(
                _JSON,
                "a file nested 100,000 deep, or with a number of 5,000 digits, ended in a traceback",
                "JSON nested 100,000 deep or with numbers of thousands of digits",
            ),
            _broke(
                "test_lists_that_are_written_as_text_are_not_evaluated",
                "a list written as a string could exhaust Python's own parser and end in a traceback",
                "lists written as strings that exhausted Python's parser",
            ),
            _broke(
                "test_a_video_id_that_no_file_can_have_is_told",
                "a video id longer than a file's name was taken",
                "ids that no file can have",
            ),
            _broke(
                "test_predictions_hold_any_text",
                "answers to a question with a carriage return could not be read again",
                "line ends in names and in predictions",
            ),
            _broke(
                "test_a_message_is_one_line_however_long_the_value",
                "a message held line ends, control characters and values of any length",
                "messages with line ends or of any length",
            ),
        ),
    ),
    _attack("fuzz-answers", "answers of other programs, as CSV and JSON", ("answers-csv", "answers-json"), ()),
    _attack(
        "fuzz-results",
        "predictions, tables, metrics of a run, recorded benchmarks",
        ("predictions", "tables", "metrics", "benchmark-record"),
        (
            _broke(
                "test_tables_of_numbers_that_are_none_are_refused",
                "a table with accuracies above 1, NaN or negative counts was taken",
                "Tables with accuracies above 1 or negative counts",
            ),
            _broke(
                "test_a_name_cannot_end_the_row_of_a_table",
                "a line end in a name broke a Markdown table",
                "line ends in names and in predictions",
            ),
            _broke(
                "test_metrics_that_are_none_are_told_before_training",
                "a broken metrics.csv ended a resumed run after an epoch, in a traceback",
                "a broken metrics.csv (told before training)",
            ),
        ),
    ),
    _attack(
        "fuzz-features",
        "feature arrays, their indices and checked.json",
        ("feature-arrays", "feature-index"),
        (
            _broke(
                "test_an_array_whose_header_lies_is_told",
                "headers of .npy files could end in a traceback",
                "Headers of .npy files that lie",
            ),
            _broke(
                "test_an_index_of_features_of_another_type_is_told",
                "an index whose fields are of another type ended in a traceback, or was taken",
                "indices of features",
            ),
            _broke(
                "test_a_memory_of_what_was_checked_may_hold_anything",
                "a checked.json that is no object ended in a traceback",
                "`checked.json`",
            ),
        ),
    ),
    _attack(
        "fuzz-stores",
        "packed stores and journals of packing",
        ("store", "pack-journal"),
        (
            _broke(
                "test_an_index_of_a_store_that_lies_is_told",
                "a store's index with fields of another type was taken, and ended in a traceback later",
                "store indices and packing journals of another type or with changed digits",
            ),
            _broke(
                "test_a_journal_of_packing_that_lies_is_not_followed",
                "a journal with places beyond the file, or that are no numbers, ended packing in a traceback",
                "store indices and packing journals of another type or with changed digits",
            ),
            _broke(
                "test_a_journal_whose_lines_changed_is_not_followed",
                "a digit that changed in the journal of packing gave a clip another number of frames",
                "journals carry checksums",
            ),
        ),
    ),
    _attack(
        "fuzz-configs",
        "YAML configs, command lines, settings of runs and of concerts",
        ("config", "command-line", "run-settings", "concert-settings"),
        (
            _broke(
                "test_a_config_that_cannot_be_read_is_told",
                "a YAML file of 1 KB whose aliases multiply filled the memory; other faults took several lines",
                "YAML whose aliases fill the memory",
            ),
            _broke(
                "test_numbers_that_are_not_finite_are_refused",
                "an infinite learning rate was accepted",
                "numbers that are infinite or null",
            ),
            _broke(
                "test_settings_of_a_run_of_another_type_are_told",
                "a run's settings of another type ended in a traceback, or were taken",
                "settings and scenes of another type",
            ),
            _broke(
                "test_scenes_of_another_type_are_told",
                "scenes of another type ended in a traceback",
                "settings and scenes of another type",
            ),
            _broke(
                "test_a_null_where_none_can_be_is_told",
                "a number that a config gives as null ended in a traceback",
                "numbers that are infinite or null",
            ),
        ),
        sample=25,
    ),
    _attack(
        "fuzz-checkpoints",
        "checkpoints, their pickles alone, released weights",
        ("checkpoint", "checkpoint-pickle", "released-weights"),
        (
            _broke_weights(
                "test_a_checkpoint_that_is_changed_is_refused",
                "a bit that turned in a checkpoint's tensors was not noticed; settings that are text or NaN were taken",
                "A bit that turned in a checkpoint, settings in it that are text or NaN",
            ),
            _broke_weights(
                "test_hostile_pickles_are_refused_and_not_run",
                "some pickles that are no state dict ended in a traceback; none was run",
                "pickles that are no state dict",
            ),
            _broke_weights(
                "test_a_last_checkpoint_without_its_step_is_told",
                "a last.ckpt without its number of steps ended in a traceback",
                "a last.ckpt without its steps",
            ),
        ),
        sample=40,
    ),
    _attack(
        "fuzz-weights",
        "encoders' weights, encoded questions, folders of the Hub's kind",
        ("encoder-weights", "encoded-questions", "hub-folder"),
        (
            _broke_hub(
                "test_a_saved_layer_whose_config_lies_is_refused",
                "a config.json with sizes of another type, or beyond memory, ended in a traceback or was allocated",
                "A saved layer's config with sizes beyond memory",
            ),
            _broke_hub(
                "test_a_saved_layer_whose_config_lies_is_refused",
                "a config.json with more streams than could be made was followed for minutes",
                "or streams without end",
            ),
            _broke_hub(
                "test_a_saved_layer_whose_versions_are_none_is_refused",
                "versions in a safetensors file that are no numbers ended in a traceback",
                "versions that are no numbers",
            ),
            _broke_weights(
                "test_encoded_questions_that_are_none_are_told",
                "encoded questions with broken texts, or of another dtype, ended in a traceback or were taken",
                "encoded questions of another dtype",
            ),
        ),
        sample=40,
    ),
)
