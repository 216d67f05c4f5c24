"""Fine-tuning on translations by the Hydra recipe."""

import re

import pytest
from hydra_runs import hydra_train, updates
from toy_corpus import ROOT

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint

RECIPES = ROOT / "pixelgpt_fairseq" / "config" / "translation"
SMALL = (
    "size=tiny +model.hidden_size=32 +model.num_hidden_layers=1 +model.intermediate_size=32 "
    "task.max_source_positions=24 task.max_target_positions=24 optimization.max_update=4 lr_scheduler.warmup_updates=1 "
    "dataset.validate_interval_updates=2 dataset.batch_size=4"
).split()


@pytest.mark.parametrize("modality", ["pixel", "text"])
def test_the_recipe_trains_and_goes_on(toy_translations, tmp_path, monkeypatch, capfd, modality):
    monkeypatch.chdir(tmp_path)
    options = [*SMALL, f"task.data={toy_translations}", f"task.source_modality={modality}"]
    hydra_train(RECIPES, "translation", *options)
    folder = tmp_path / "runs" / f"translation-{modality}-data" / "checkpoints"
    assert updates(folder / "checkpoint_last.pt") == 4
    assert re.search(r"valid on 'valid' subset .* chrf [\d.]+", capfd.readouterr().out)
    model = load_checkpoint(folder / "checkpoint_best.pt").model
    assert model.uses_patches == (modality == "pixel")
    hydra_train(RECIPES, "translation", *options, "optimization.max_update=6", "task.continue_anyway=true")
    assert updates(folder / "checkpoint_last.pt") == 6


def test_weights_of_pretraining_are_fine_tuned(toy_translations, translator, tmp_path, monkeypatch):
    """A checkpoint with the same tokenizer begins the run, with its sizes and its strip width."""
    monkeypatch.chdir(tmp_path)
    options = ["size=tiny", f"task.data={toy_translations}", "task.source_modality=pixel", "model._name=pixelgpt"]
    options += ["optimization.max_update=1", "lr_scheduler.warmup_updates=0", "dataset.batch_size=4"]
    options += [f"+checkpoint.finetune_from_model={translator['pixel']}", "task.max_target_positions=24"]
    hydra_train(RECIPES, "translation", *options)
    model = load_checkpoint("runs/translation-pixel-data/checkpoints/checkpoint_best.pt").model
    assert model.config.hidden_size == 48
    assert model.data_settings["pair_patches"] == 24
