import json
import logging
import shutil

import pytest
import torch
from refusals import refusal, script
from toy_finetuning import RUNS, fairseq_train, pretrained

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.prediction import predict
from pixelgpt_fairseq.evaluation.runs import find_runs, read_log

main = script("summarize_results")


@pytest.fixture
def runs(finetuned, tmp_path):
    """A copy of the folder with a run of each task."""
    return shutil.copytree(finetuned["rte"].folder.parent, tmp_path / "checkpoints")


def warnings(caplog, path):
    with caplog.at_level(logging.WARNING, "pixelgpt_fairseq"):
        found = find_runs([path])
    return found, caplog.messages


@pytest.mark.parametrize("task", RUNS)
def test_a_run_tells_what_its_best_checkpoint_answers(finetuned, task):
    one, (modality, subsets, metric) = finetuned[task], RUNS[task]
    (run,) = find_runs([one.folder])
    assert (run.model, run.task, run.modality, run.start) == ("dualgpt", task, modality, "")
    assert (run.seed, run.settings["lr"], run.settings["batch"], run.metric) == (1, 0.003, 4, metric)
    splits = subsets.split(",")
    found = predict(one.checkpoint, one.data, splits, batch_size=4, cpu=True, progress=False)
    assert list(run.scores) == splits
    for split, answers in found.items():
        for name, value in answers.metrics().items():
            assert run.score(name, split) == pytest.approx(value, abs=1e-4)


def test_all_runs_below_a_folder_are_found_once(runs):
    assert {run.task for run in find_runs([runs])} == set(RUNS)
    assert len(find_runs([runs, runs / "dualgpt-rte-pair", runs / ".." / "checkpoints"])) == len(RUNS)


def test_without_a_log_a_checkpoint_tells_the_score_that_chose_it(runs):
    folder = runs / "dualgpt-stsb-pixel"
    (whole,) = find_runs([folder])
    (folder / "train.log").unlink()
    (run,) = find_runs([folder])
    assert run.scores == {"valid": {"spearmanr": whole.score("spearmanr")}}


def test_without_checkpoints_a_log_tells_all(runs):
    folder = runs / "dualgpt-mnli-text"
    (whole,) = find_runs([folder])
    for path in folder.glob("*.pt"):
        path.unlink()
    for place in (folder, folder / "train.log"):
        (run,) = find_runs([place])
        assert (run.scores, run.settings, run.seed, run.metric) == (whole.scores, whole.settings, 1, "accuracy")
        assert (run.model, run.task, run.modality) == ("dualgpt", "mnli", "text")


def test_logs_in_json_tell_the_same(finetuned, tmp_path):
    one = finetuned["mnli"]
    options = "--modality text --valid-subset valid,valid_mismatched --best-checkpoint-metric accuracy".split()
    fairseq_train(one.data, tmp_path / "json", *options, "--log-format", "json")
    found, expected = read_log(tmp_path / "json" / "train.log"), read_log(one.folder / "train.log")
    assert found.options.keys() == expected.options.keys()
    assert [updates for updates in found.validations if updates % 4 == 0] == [4, 8, 12]
    for updates, subsets in expected.validations.items():
        assert list(found.validations[updates]) == ["valid", "valid_mismatched"]
        for subset, values in subsets.items():
            assert found.validations[updates][subset]["accuracy"] == values["accuracy"]


def test_logs_lie_where_hydra_puts_them(runs, tmp_path):
    folder = tmp_path / "outputs" / "17-40-12"
    shutil.copytree(runs / "dualgpt-mnli-text", folder / "checkpoints")
    log = (folder / "checkpoints" / "train.log").rename(folder / "hydra_train.log")
    checkpoint = torch.load(folder / "checkpoints" / "checkpoint_best.pt", weights_only=True)
    lines = log.read_text().replace(checkpoint["cfg"]["checkpoint"]["save_dir"], "checkpoints").splitlines()
    log.write_text("".join(f"[2026-01-01][fairseq_cli.train][INFO] - {line}\n" for line in lines))
    (run,) = find_runs([tmp_path / "outputs"])
    assert list(run.scores) == ["valid", "valid_mismatched"]
    assert (run.model, run.path) == ("from scratch", folder / "checkpoints")


@pytest.mark.parametrize(
    ("start", "model"),
    [
        ("runs/dualgpt_tiny-data/checkpoints/checkpoint_best.pt", "dualgpt_tiny-data"),
        ("/a/runs/pixelgpt/checkpoint_last.pt", "pixelgpt"),
        ("checkpoints/textgpt/checkpoint_best.pt", "textgpt"),
        ("checkpoints/monogpt.pt", "monogpt"),
        ("../dualgpt.pt", "dualgpt"),
        ("/dualgpt.pt", "dualgpt"),
    ],
)
def test_a_model_is_called_after_the_run_that_it_started_from(start, model, runs):
    folder = (runs / "dualgpt-rte-pair").rename(runs / "mine")
    state = torch.load(folder / "checkpoint_best.pt", weights_only=True)
    state["cfg"]["checkpoint"]["finetune_from_model"] = start
    torch.save(state, folder / "checkpoint_best.pt")
    (run,) = find_runs([folder])
    assert run.model == model


def test_the_name_of_the_recipe_counts_more_than_that_of_the_folder(runs):
    folder = (runs / "dualgpt-rte-pair").rename(runs / "mine")
    (run,) = find_runs([folder])
    assert run.model == "from scratch"
    (folder / "run.json").write_text(json.dumps({"recipe": "monogpt, rte, pair"}))
    (run,) = find_runs([folder])
    assert run.model == "monogpt"


def test_validations_that_were_run_over_again_count_once(tmp_path):
    def line(updates, accuracy):
        return f"epoch 001 | valid on 'valid' subset | loss 1 | accuracy {accuracy} | num_updates {updates}\n"

    log = tmp_path / "train.log"
    log.write_text(line(50, 0.5) + line(100, 0.9) + "killed\n" + line(100, 0.6) + line(150, 0.7) + line(100, 0.8))
    found = read_log(log).validations
    assert {updates: scores["valid"]["accuracy"] for updates, scores in found.items()} == {50: 0.5, 100: 0.8}


def test_a_log_of_another_run_is_not_believed(runs):
    folder = runs / "dualgpt-rte-pair"
    (whole,) = find_runs([folder])
    log = folder / "train.log"
    log.write_text(log.read_text().replace(f"accuracy {whole.score('accuracy')}", "accuracy 0.999"))
    (run,) = find_runs([folder])
    assert run.scores == {"valid": {"accuracy": whole.score("accuracy")}}


def test_what_is_no_run_with_labels_is_left_out_with_a_warning(finetuned, runs, caplog):
    pretrained(finetuned["rte"].checkpoint, runs / "pretrained" / "checkpoint_best.pt")
    found, messages = warnings(caplog, runs)
    assert len(found) == len(RUNS)
    (message,) = messages
    assert message.startswith(f"{runs / 'pretrained'}: left out: not a run of --task rendered_glue")


def test_places_without_runs_are_told_in_one_line(finetuned, tmp_path):
    with pytest.raises(UserError, match="none: no such file or folder"):
        find_runs([tmp_path / "none"])
    with pytest.raises(UserError, match=r"no checkpoints \(checkpoint_best.pt\) and no logs"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="no run of fairseq-train with labels and a validation"):
        find_runs([pretrained(finetuned["rte"].checkpoint, tmp_path / "a" / "checkpoint_last.pt").parent])
    (tmp_path / "checkpoint_best.pt").write_text("no checkpoint")
    with pytest.raises(UserError, match=r"checkpoint_best\.pt: not a checkpoint, or damaged"):
        find_runs([tmp_path])


def test_the_script_writes_both_formats_and_overwrites_nothing(runs, tmp_path, capsys):
    outputs = [tmp_path / "a.md", tmp_path / "a.tsv"]
    main([str(runs), "--output", *map(str, outputs)])
    printed = capsys.readouterr().out
    assert outputs[0].read_text() == printed
    for task, (modality, _, _) in RUNS.items():
        assert f"dualgpt, from scratch\t\t{modality}\t\t\t\t\t{task}\t" in outputs[1].read_text()
        assert f"| dualgpt, from scratch | {modality} |" in printed
    assert refusal(main, runs, "--output", outputs[0]).endswith(
        "a.md: already there: choose another --output, or pass --overwrite"
    )
    assert refusal(main, runs, "--output", tmp_path / "a.csv") == (
        f"--output {tmp_path / 'a.csv'}: the name must end in .md or .tsv"
    )


def test_a_run_tells_what_its_strips_looked_like_and_which_attack_it_was_trained_on(runs):
    folder = runs / "dualgpt-stsb-pixel"
    (run,) = find_runs([folder])
    assert (run.font, run.attack) == ("KurintoSans-Rg+KurintoSansSC-Rg", "")
    assert (run.render_mode, run.structure) == ("gray", "continuous")
    (run,) = find_runs([runs / "dualgpt-mnli-text"])
    assert (run.font, run.render_mode, run.structure) == ("", "", "")
    (folder / "run.json").write_text(json.dumps({"recipe": "dualgpt, stsb, pixel", "attack": "truncate"}))
    (run,) = find_runs([folder])
    assert run.attack == "truncate"
