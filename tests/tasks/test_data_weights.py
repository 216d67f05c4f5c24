"""Several folders as one mixture: ``--data-weights``."""

import collections

import pytest
from fairseq_runs import train
from test_training_order import setup_task
from toy_corpus import TOY_TRAINING, documents

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import binarize


@pytest.fixture(scope="module")
def other(toy_data, tmp_path_factory):
    """Another, smaller folder with the settings of the first."""
    folder, first = tmp_path_factory.mktemp("other"), DataFolder(toy_data)
    for split, texts in (("train", documents()[:15]), ("valid", documents()[40:42])):
        (folder / "corpus.txt").write_text("\n\n".join(texts))
        config, tokenizer = first.renderer_config(), first.tokenizer()
        binarize([folder / "corpus.txt"], folder / "data", split, config, tokenizer, progress=False)
    return folder / "data"


def updates(task, epochs=1, batch_size=2, group=3):
    """The batches of each update of some epochs."""
    dataset = task.dataset("train")
    draw = task.training_batches(dataset, 1, group, max_sentences=batch_size, max_tokens=None)
    batches = [batch for epoch in range(1, epochs + 1) for batch in draw(epoch)]
    return dataset, [batches[i : i + group] for i in range(0, len(batches), group)]


@pytest.mark.parametrize("weights", ["0.7,0.3", "1,3"])
def test_each_folder_has_its_share_of_the_updates(toy_data, other, weights):
    task = setup_task(f"{toy_data}:{other}", data_weights=weights)
    dataset, found = updates(task, epochs=4)
    modalities = len(task.modalities)
    streams = collections.Counter()
    for update in found:
        held = {dataset._get_dataset_and_sample_index(i)[0] for batch in update for i in batch}
        assert len(held) == 1  # of one modality of one folder
        streams[held.pop()] += 1
    shares = [sum(streams[folder * modalities + i] for i in range(modalities)) / len(found) for folder in range(2)]
    first, second = map(float, weights.split(","))
    assert shares[1] == pytest.approx(second / (first + second), abs=0.04)
    for folder in range(2):  # within a folder, modalities have theirs
        of_folder = [streams[folder * modalities + i] for i in range(modalities)]
        assert max(of_folder) - min(of_folder) <= 4


def test_every_example_of_a_folder_comes_once_before_any_comes_again(toy_data, other):
    task = setup_task(f"{toy_data}:{other}", data_weights="0.5,0.5")
    dataset, found = updates(task, epochs=3)
    seen = collections.Counter(int(i) for update in found for batch in update for i in batch)
    for indices in dataset.stream_indices():
        counts = [seen[int(i)] for i in indices]
        assert max(counts) - min(counts) <= 1


def test_validation_is_of_all_folders_together_and_of_each(toy_data, other):
    task = setup_task(f"{toy_data}:{other}", data_weights="0.7,0.3")
    for subset in ("valid", "valid@1", "valid@2"):
        task.load_dataset(subset)
    sizes = [len(task.dataset(subset)) for subset in ("valid", "valid@1", "valid@2")]
    assert sizes[0] == sizes[1] + sizes[2]
    assert sizes[1] > sizes[2] > 0


def test_a_run_trains_on_both_and_reports_each(toy_data, other, tmp_path):
    options = "--modalities text,pixel,pair --data-weights 0.7,0.3 --max-epoch 2 --batch-size 32 --no-save".split()
    run = train(f"{toy_data}:{other}", *TOY_TRAINING, *options, "--valid-subset", "valid,valid@1,valid@2")
    assert run.log.count("begin training epoch") == 2
    for subset in ("valid", "valid@1", "valid@2"):
        assert len(run.lines(subset)) == 2
        assert run.lines(subset)[0]["loss"] > 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("0.7", r"--data-weights 0.7: 1 weights for 2 data folders"),
        ("0.7,x", r"--data-weights 0.7,x: not numbers joined by commas"),
        ("1,0", r"--data-weights 1,0: weights must be positive"),
    ],
)
def test_weights_that_are_none(toy_data, other, weights, message):
    task = setup_task(f"{toy_data}:{other}", data_weights=weights)
    with pytest.raises(UserError, match=message):
        updates(task)


def test_a_number_that_is_no_folder(toy_data, other):
    task = setup_task(f"{toy_data}:{other}", data_weights="1,1")
    with pytest.raises(UserError, match=r"split valid@3: the number is that of one of the folders"):
        task.load_dataset("valid@3")
