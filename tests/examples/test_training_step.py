"""The training step's measurement: what competes, what is refused a number, what is recorded and shown."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.avqa import provenance
from examples.avqa.measure import tables, training_step
from examples.avqa.measure.agreement import LEAST, MOST, Errors, bound, compared, exact, fault
from examples.avqa.measure.parts import shares
from examples.avqa.measure.step import Sizes, TrainingStep, initial_state, synthetic_batch
from examples.avqa.measure.timing import interleaved, summary
from examples.avqa.measure.training_step import Settings, main, measured

SIZES = Sizes(B=5, T=6, N=3, L=4, audio=8, video=12, patches=10, D=16, heads=4)


def step(implementation: Any = "ours", precision: Any = "float32") -> TrainingStep:
    return TrainingStep(implementation, precision, False, SIZES, initial_state(SIZES), synthetic_batch(SIZES, "cpu"))


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    settings = Settings(precision="bfloat16", rounds=2, profile=True, sizes=SIZES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("examples.avqa.measure.timing.SHORTEST_SAMPLE", 0.0)
        patch.setattr("examples.avqa.measure.parts.STEPS", 1)
        return measured(settings)


def test_both_have_the_same_loss_and_gradients_in_float32() -> None:
    wanted = exact(SIZES, initial_state(SIZES), synthetic_batch(SIZES, "cpu"))
    for implementation in ("published", "ours"):
        found = compared(*step(implementation).gradients(), wanted)
        assert found.largest < 1e-5


def test_the_yardstick_is_the_whole_batch_in_pieces() -> None:
    """Five clips are a piece of four and one of one."""
    sizes, state, batch = SIZES, initial_state(SIZES), synthetic_batch(SIZES, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("examples.avqa.measure.agreement.CLIPS", 5)
        whole = exact(sizes, state, batch)
    pieces = exact(sizes, state, batch)
    assert pieces.loss == pytest.approx(whole.loss, rel=1e-12)
    assert compared(pieces.loss, pieces.gradients, whole).largest < 1e-10


def test_a_step_trains_with_dropout_and_leaves_no_mode_behind() -> None:
    each = step()
    weight = each.model.get_parameter("head.weight")
    before = weight.detach().clone()
    each.gradients()
    assert each.model.training
    assert torch.equal(weight, before)
    assert each.loss().item() != each.loss().item()
    each()
    assert not torch.equal(weight, before)


@pytest.mark.parametrize("implementation", ["published", "ours"])
def test_steps_lower_the_loss(implementation: str) -> None:
    each = step(implementation)
    for group in each.optimizer.param_groups:
        group["lr"] = 1e-2
    before = each.gradients()[0]
    for _ in range(30):
        each()
    assert each.gradients()[0] < before / 2


def test_a_wrong_gradient_gets_no_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = TrainingStep.gradients

    def wrong(self: TrainingStep) -> Any:
        loss, gradients = real(self)
        if self.implementation == "ours":
            gradients["head.bias"] = gradients["head.bias"] * 1.01
        return loss, gradients

    monkeypatch.setattr(TrainingStep, "gradients", wrong)
    monkeypatch.setattr(training_step, "measured", lambda settings: measured(replace(settings, sizes=SIZES)))
    out = tmp_path / "record.json"
    assert main(["--device", "cpu", "--rounds", "2", "--profile", "--out", str(out)]) == 1
    found = json.loads(out.read_text())
    by_name = {row["implementation"]: row for row in found["rows"]}
    assert by_name["ours"]["seconds"] is None
    assert "head.bias" in by_name["ours"]["fault"]
    assert by_name["published"]["seconds"] is not None
    assert found["profile"] == []
    assert "no number: the gradient of head.bias" in tables.training_step(found)


def test_errors_that_are_no_numbers_are_faults() -> None:
    limit = LEAST["float32"]
    assert fault(Errors(0.0, 0.0, "x"), limit) is None
    for errors in (Errors(math.nan, 0.0, "x"), Errors(0.0, math.nan, "x"), Errors(0.0, math.inf, "x")):
        assert fault(errors, limit)
    missing = exact(SIZES, initial_state(SIZES), synthetic_batch(SIZES, "cpu"))
    del missing.gradients["head.bias"]
    whole = exact(SIZES, initial_state(SIZES), synthetic_batch(SIZES, "cpu"))
    found = compared(missing.loss, missing.gradients, whole)
    assert (found.worst, found.gradient) == ("head.bias", math.inf)


def test_bounds_follow_the_published_computation() -> None:
    assert bound("float32", Errors(0.0, 1e-6, "x")) == LEAST["float32"]
    assert bound("float32", Errors(0.0, 1e-3, "x")) == 2e-3
    assert bound("bfloat16", Errors(0.3, 0.1, "x")) == 0.6
    for nothing in (2 * MOST["bfloat16"], math.nan):
        assert bound("bfloat16", Errors(0.0, nothing, "x")) == 0.0
    assert "too far" in str(fault(Errors(0.0, 0.0, "x"), 0.0))


def test_percentiles() -> None:
    found = summary([float(value) for value in range(11)])
    assert (found.low, found.median, found.high) == (2.0, 5.0, 8.0)


def test_calls_take_turns_in_changing_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.avqa.measure.timing.SHORTEST_SAMPLE", 0.0)
    calls: list[int] = []
    interleaved([lambda: calls.append(0), lambda: calls.append(1), lambda: calls.append(2)], 20, "cpu")
    turns = [tuple(calls[place : place + 3]) for place in range(len(calls) - 60, len(calls), 3)]
    assert all(sorted(turn) == [0, 1, 2] for turn in turns)
    assert len(set(turns)) > 3


@pytest.mark.slow
def test_bfloat16_competes_beside_float32(record: dict[str, Any]) -> None:
    rows = [(row["implementation"], row["precision"]) for row in record["rows"]]
    assert rows == [("published", "bfloat16"), ("ours", "bfloat16"), ("published", "float32"), ("ours", "float32")]
    assert all(row["fault"] is None for row in record["rows"])
    assert all(low <= median <= high for median, low, high in (row["seconds"] for row in record["rows"]))


def test_the_record_says_where_it_comes_from(record: dict[str, Any]) -> None:
    assert json.loads(json.dumps(record)) == record
    assert record["provenance"].keys() >= {"date", "device", "python", "torch", "commit"}
    assert record["settings"]["sizes"]["T"] == 6
    table = tables.training_step(record)
    assert table.count("\n| this repository |") == 2
    assert "synthetic features" in table
    seconds = [row["seconds"][0] for row in record["rows"]]
    assert f"| {seconds[0] / seconds[1]:.2f}× |" in table
    assert f"| {seconds[2] / seconds[3]:.2f}× |" in table


def test_every_part_has_its_share(record: dict[str, Any]) -> None:
    found = {(share["part"], share["pass"]) for share in record["profile"]}
    parts = ("projections", "fusion", "patches", "audio mixture", "visual mixture", "refiner", "head", "loss")
    assert found >= {(part, which) for part in parts for which in ("forward", "backward")} | {("optimizer", "forward")}
    assert "| patches | backward |" in tables.parts(record)
    assert tables.parts(record | {"profile": []}) == ""


def test_the_backward_pass_is_charged_to_the_part_that_caused_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that occurs nowhere else, and whose gradient is another one."""
    monkeypatch.setattr("examples.avqa.measure.parts.STEPS", 1)
    monkeypatch.setattr("examples.avqa.measure.parts.TOP", 1000)
    each = step()
    norm = each.model.get_submodule("refiner.norm")
    norm.register_forward_hook(lambda _, __, out: out + torch.lgamma(out.square() + 1))
    places: dict[str, set[tuple[str, str]]] = {"aten::lgamma": set(), "aten::digamma": set()}
    for share in shares(each, each.model, "cpu"):
        for name, _, _ in share.operators:
            places.get(name, set()).add((share.part, share.which))
    assert places == {"aten::lgamma": {("refiner", "forward")}, "aten::digamma": {("refiner", "backward")}}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch", "0"], "--batch must be at least 1, got 0"),
        (["--rounds", "1"], "--rounds must be at least 2, got 1"),
        (["--out", "."], "--out . is a folder"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda"]) == 2
    assert "sees no CUDA device" in capsys.readouterr().err


def test_provenance_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        if package == "av":
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(provenance, "version", absent)
    found = provenance.provenance("cpu")
    assert (found["av"], found["torch"]) == ("none", "1.0")
    assert found["device"].startswith("CPU")
