"""The demo: stages that are finished once, a table of losses, a log, and nothing lost that it did not make."""

import contextlib
import json
import signal
import sys

import pytest
from fairseq_runs import train
from toy_corpus import TOY_TRAINING

from pixelgpt_fairseq.cli import demo as quickstart

STAGES = ["render-corpus", "render-corpus", "fairseq-train", "fairseq-validate", "show-predictions"]


class Commands:
    """Stands for the commands of the demo: each writes what its stage looks for, or is interrupted at its turn."""

    def __init__(self, output, interrupted_at=None):
        self.output, self.interrupted_at, self.ran = output, interrupted_at, []

    def __call__(self, command, log, heard=lambda line: None):
        parts = [str(part) for part in command]
        name = next(part for part in parts if part.rpartition("/")[2] in STAGES).rpartition("/")[2]
        self.ran.append(name)
        if len(self.ran) == self.interrupted_at:
            raise KeyboardInterrupt
        if name == "render-corpus":
            split = parts[parts.index("--split") + 1]
            (self.output / "data").mkdir(exist_ok=True)
            (self.output / "data" / f"{split}.manifest.json").touch()
        elif name == "fairseq-train":
            (self.output / "checkpoints").mkdir(exist_ok=True)
            (self.output / "checkpoints" / "checkpoint_last.pt").touch()
            with open(log, "a") as written:
                for update, loss in ((50, 2.0), (100, 1.0)):
                    values = {f"valid_{name}": str(loss) for name in quickstart.LOSSES}
                    line = f"time | INFO | valid | {json.dumps(values | {'valid_num_updates': str(update)})}\n"
                    written.write(line)
                    heard(line)
        elif name == "show-predictions":
            (self.output / "predictions.png").touch()


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Runs the demo with commands that stand for the real ones; returns the names of those that it ran."""

    def run(*options, interrupted_at=None):
        commands = Commands(tmp_path / "demo", interrupted_at)
        monkeypatch.setattr(quickstart, "run", commands)
        monkeypatch.setattr(sys, "argv", ["pixelgpt demo", "--output", str(tmp_path / "demo"), *options])
        before = signal.getsignal(signal.SIGTERM)
        ending = pytest.raises(SystemExit, match=str(quickstart.INTERRUPTED))
        try:
            with ending if interrupted_at else contextlib.nullcontext():
                quickstart.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        return commands.ran

    return run


@pytest.mark.parametrize("interrupted_at", range(1, len(STAGES) + 1))
def test_interrupted_at_any_stage_it_goes_on_there(demo, capsys, interrupted_at):
    assert demo(interrupted_at=interrupted_at) == STAGES[:interrupted_at]
    assert capsys.readouterr().err.endswith("interrupted: the same command goes on where it was\n")
    assert demo() == STAGES[interrupted_at - 1 :]
    assert "Validation loss, first and last:\n  pixel_patch_loss  2.000 -> 1.000\n" in capsys.readouterr().out
    assert demo() == []
    assert capsys.readouterr().out.count("done before") == 4


def test_losses_are_a_table_and_the_end_says_what_to_do_next(demo, tmp_path, capsys):
    demo()
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    header = rows.index(["update", *quickstart.LOSSES])
    assert len(printed.splitlines()[header]) < 80  # the width of a terminal
    assert rows[header + 1 : header + 3] == [["50", *["2.000"] * 4], ["100", *["1.000"] * 4]]
    assert f"what the commands print to {tmp_path / 'demo' / 'demo.log'}" in printed
    following = [line.split() for line in printed.splitlines() if "bin/pixelgpt" in line]
    assert [parts[1] for parts in following] == ["show-predictions", "render-corpus"]


def test_more_updates_train_on_and_starting_over_is_asked_for(demo, tmp_path):
    demo()
    assert demo("--max-update", "1000") == STAGES[2:]
    note = tmp_path / "demo" / "notes.txt"
    note.touch()
    assert demo("--overwrite") == STAGES
    assert note.exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "precious").touch()
    monkeypatch.setattr(sys, "argv", ["pixelgpt demo", "--output", str(tmp_path), "--overwrite"])
    with pytest.raises(SystemExit, match="holds other things: choose another --output"):
        quickstart.main()
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_folder_that_does_not_tell_its_stages_is_started_over_when_asked(demo, tmp_path):
    demo()
    (tmp_path / "demo" / quickstart.STAGES).write_text("")
    with pytest.raises(SystemExit, match="start over with --overwrite"):
        demo()
    assert demo("--overwrite") == STAGES


def test_files_that_were_put_beside_those_of_the_demo_stay(tmp_path):
    elsewhere, made, own = tmp_path / "elsewhere", tmp_path / "data", tmp_path / "notes.txt"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (tmp_path / "checkpoints").symlink_to(elsewhere)
    made.mkdir()
    for path in (made / "train.pixel.bin", own, tmp_path / "train.log"):
        path.touch()
    quickstart.remove([made, tmp_path / "checkpoints"], [tmp_path / "train.log", tmp_path / "absent"])
    assert sorted(tmp_path.iterdir()) == [elsewhere, own]
    assert (elsewhere / "precious").exists()


def test_the_losses_are_read_from_what_fairseq_logs(toy_data, tmp_path):
    options = "--modalities text,pixel,pair --max-update 2 --validate-interval-updates 1 --no-save --save-dir".split()
    log = tmp_path / "demo.log"
    log.write_text(train(toy_data, *TOY_TRAINING, *options, tmp_path).log)
    found = quickstart.validations(log)
    assert list(found) == [1, 2]
    assert all(0 < losses[name] < 20 for losses in found.values() for name in quickstart.LOSSES)
