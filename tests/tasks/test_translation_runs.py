"""Training on translations, and what fairseq's commands make of the trained model."""

import importlib.util
import re
import shutil
import sys
from types import SimpleNamespace

import fairseq_cli.generate
import fairseq_cli.interactive
import fairseq_cli.validate
import pytest
import torch
from fairseq_runs import Run, run, scores, train, validate
from refusals import refusal
from toy_translation import TRAINING
from two_workers import DESCENT, assert_same_weights, run_two_workers, train_by_two_workers

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.criterions.text_scores import edit_distance
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.generation import generate_tokens
from pixelgpt_fairseq.rendering import TextRenderer

TASK = (
    "--user-dir pixelgpt_fairseq --task rendered_translation --max-source-positions 24 --max-target-positions 24 --cpu"
).split()
GENERATION = [*TASK, *"--gen-subset valid --batch-size 3 --max-len-b 12".split()]
MODALITIES = ("pixel", "text")


def generate(data, checkpoint, modality, folder, *options):
    """Run fairseq-generate: the lines of its file, sorted, without fairseq's log; and the last one, the score."""
    given = ["--source-modality", modality, "--path", checkpoint, "--results-path", folder, *options]
    run(fairseq_cli.generate.cli_main, data, *GENERATION, *given)
    lines = (folder / "generate-valid.txt").read_text(encoding="utf-8").splitlines()
    return sorted(line for line in lines if re.match(r"[STHDP]-\d", line)), lines[-1]


@pytest.mark.parametrize("modality", MODALITIES)
def test_training_lowers_the_loss_of_targets(toy_translations, tmp_path, modality):
    options = ["--source-modality", modality, "--max-update", 30, "--batch-size", 8, "--save-dir", tmp_path]
    found = train(toy_translations, *TRAINING, *options)
    losses = found.losses()
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert found.lines("valid")[-1]["loss"] < losses[0]


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_run_that_was_ended_goes_on_step_for_step(toy_translations, tmp_path, modality):
    options = ["--source-modality", modality, "--disable-validation", "--save-interval-updates", 7, "--max-update"]
    whole = train(toy_translations, *TRAINING, *options, 13, "--save-dir", tmp_path / "whole").losses()
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "whole" / "checkpoint_1_7.pt", tmp_path / "resumed" / "checkpoint_last.pt")
    resumed = train(toy_translations, *TRAINING, *options, 13, "--save-dir", tmp_path / "resumed").losses()
    assert resumed == whole[7:]
    assert_same_weights(tmp_path / "resumed", tmp_path / "whole", tolerance=0)


def test_two_workers_train_and_validate_as_one(toy_translations, tmp_path):
    # No update is left with fewer batches than workers; the last batch of the validation has no other beside it.
    options = [*TRAINING, *DESCENT, *"--source-modality pixel --max-epoch 1 --eval-bleu --eval-cer".split()]
    options += ["--lr", "0.1", "--save-dir"]
    alone = train(toy_translations, *options, tmp_path / "alone", "--update-freq", 2)
    two = Run(train_by_two_workers(toy_translations, *options, tmp_path / "two"))
    assert_same_weights(tmp_path / "two", tmp_path / "alone", tolerance=1e-6)
    names = ("loss", "bleu", "cer")
    expected = scores(alone.lines("valid")[-1], *names)
    assert scores(two.lines("valid")[-1], *names) == pytest.approx(expected, abs=2e-3)
    given = [*TASK, *"--source-modality pixel --batch-size 4 --log-format json --eval-bleu --eval-cer".split()]
    given += ["--path", tmp_path / "two" / "checkpoint_last.pt"]
    validated = Run(run_two_workers(fairseq_cli.validate.cli_main, toy_translations, *given))
    assert scores(validated.lines("valid")[-1], *names) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("modality", MODALITIES)
def test_fairseq_generate_writes_what_generate_tokens_does(toy_translations, translator, tmp_path, modality):
    options = ["--beam", 1, "--min-len", 0]
    lines, score = generate(toy_translations, translator[modality], modality, tmp_path / "out", *options)
    held, folder = load_checkpoint(translator[modality]), DataFolder(toy_translations)
    assert re.fullmatch(r"Generate valid with beam=1: BLEU4 = .*", score)
    rows = dict(line.split("\t", 1) for line in lines)
    renderer, tokenizer = TextRenderer(folder.renderer_config()), folder.tokenizer()
    for number in range(11):
        source = rows[f"S-{number}"]
        assert rows[f"T-{number}"] == source.upper()
        prompt, given = [tokenizer.bos], {}
        if modality == "text":
            prompt = [tokenizer.bos, *tokenizer.model.encode(source)[:23], tokenizer.bos]
        else:
            patches = torch.from_numpy(renderer(source).patches())
            if len(patches) > 24:
                patches = torch.cat([patches[:23], patches[-1:]])
            given = {"patches": patches[None], "strip_patches": 24}
        (tokens,) = generate_tokens(held.model, [prompt], 12, eos=tokenizer.eos, **given)
        assert rows[f"D-{number}"].split("\t")[1] == " ".join(tokenizer.decode(tokens).splitlines())


def test_fairseqs_options_of_generation_are_known(toy_translations, translator, tmp_path):
    def texts(name, *options):
        lines, _ = generate(toy_translations, translator["text"], "text", tmp_path / name, *options)
        return [line.split("\t")[2] for line in lines if line.startswith("D-")]

    greedy = texts("greedy", "--beam", 1)
    assert texts("sampled", "--beam", 1, "--sampling", "--sampling-topk", 1) == greedy
    assert texts("nucleus", "--beam", 1, "--sampling", "--sampling-topp", "1e-6", "--temperature", 0.5) == greedy
    assert len(texts("several", "--beam", 3, "--nbest", 2, "--lenpen", 0.5, "--no-repeat-ngram-size", 2)) == 2 * 11
    given = texts("given", "--beam", 1, "--prefix-size", 2)
    dictionary, targets = DataFolder(toy_translations), DataFolder(toy_translations).open("valid", "target")
    tokenizer = dictionary.tokenizer()
    begun = sorted((f"D-{i}", tokenizer.decode(targets[i][1:3].tolist())) for i in range(11))
    assert all(text.startswith(begin) for (_, begin), text in zip(begun, given, strict=True))
    both = texts("both", "--beam", 1, "--path", f"{translator['text']}:{translator['text']}")
    assert both == greedy


@pytest.mark.parametrize(
    ("scoring", "result"),
    [("sacrebleu", "BLEU = "), ("chrf", "chrF2 = "), ("chrf++", "chrF2++ = "), ("cer", "CER: "), ("wer", "WER: ")],
)
def test_scores_of_generated_texts(toy_translations, translator, tmp_path, scoring, result, monkeypatch):
    if scoring == "wer" and importlib.util.find_spec("editdistance") is None:  # of the extra translation
        monkeypatch.setitem(sys.modules, "editdistance", SimpleNamespace(eval=edit_distance))
    given = ["--beam", 1, "--scoring", scoring]
    _, score = generate(toy_translations, translator["text"], "text", tmp_path, *given)
    assert score.startswith(f"Generate valid with beam=1: {result}")


def test_validation_logs_the_scores_that_generation_prints(toy_translations, translator, tmp_path):
    options = [*TASK, *"--source-modality text --batch-size 4 --log-format json --eval-chrf --eval-cer".split()]
    options += ["--eval-bleu-args", '{"beam": 2, "max_len_b": 12}', "--path", translator["text"]]
    found = validate(toy_translations, *options).lines("valid")[-1]
    for name in ("chrf", "cer"):
        _, score = generate(toy_translations, translator["text"], "text", tmp_path, "--beam", 2, "--scoring", name)
        assert float(re.search(r"(?:= |CER: )([\d.]+)", score)[1]) == pytest.approx(found[name], abs=0.011)


def test_generation_by_several_workers_gives_the_same_lines(toy_translations, translator, tmp_path):
    whole, _ = generate(toy_translations, translator["pixel"], "pixel", tmp_path / "whole", "--beam", 2)
    loaders, _ = generate(
        toy_translations, translator["pixel"], "pixel", tmp_path / "loaders", "--beam", 2, "--num-workers", 2
    )
    assert loaders == whole
    shards = []
    for rank in range(3):  # 4 batches: the last has none beside it
        given = ["--beam", 2, "--distributed-world-size", 3, "--distributed-rank", rank]
        part, _ = generate(toy_translations, translator["pixel"], "pixel", tmp_path / f"{rank}", *given)
        assert 0 < len(part) < len(whole)
        shards += part
    assert sorted(shards) == whole


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_is_typed_is_read(toy_translations, translator, tmp_path, modality, capsys):
    lines, _ = generate(toy_translations, translator[modality], modality, tmp_path / "out", "--beam", 2)
    expected = dict(line.split("\t", 1) for line in lines)
    short = [number for number in range(11) if len(expected[f"S-{number}"]) < 16]
    assert len(short) > 2
    (tmp_path / "typed.txt").write_text("".join(expected[f"S-{number}"] + "\n" for number in short))
    capsys.readouterr()
    options = [*TASK, "--source-modality", modality, "--path", translator[modality], "--beam", 2, "--max-len-b", 12]
    options += ["--input", tmp_path / "typed.txt", "--buffer-size", 3, "--batch-size", 2]
    run(fairseq_cli.interactive.cli_main, toy_translations, *options)
    printed = dict(re.findall(r"^([SD]-\d+)\t(.*)$", capsys.readouterr().out, re.MULTILINE))
    for row, number in enumerate(short):
        assert printed[f"S-{row}"] == expected[f"S-{number}"]
        assert printed[f"D-{row}"].split("\t")[1] == expected[f"D-{number}"].split("\t")[1]


def refused(main, *arguments):
    return refusal(lambda _: run(main, *arguments))


def generation_error(*arguments):
    """The line that fairseq-generate prints: it goes through Python's own hook."""
    from pixelgpt_fairseq.errors import UserError

    with pytest.raises((UserError, SystemExit)) as caught:
        run(fairseq_cli.generate.cli_main, *arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no --source-modality (Hydra: task.source_modality): say what the model reads"),
        (["--source-modality", "text", "--eval-bleu", "--eval-bleu-args", "[1]"], "--eval-bleu-args [1]: not a JSON"),
        (["--source-modality", "text", "--criterion", "patch_token_loss"], "needs --criterion target_token_loss"),
        (["--source-modality", "text", "--best-checkpoint-metric", "bleu"], "--best-checkpoint-metric bleu: not among"),
        (["--source-modality", "pixel", "--pair-patches", "1020"], "may have 1044 positions (strip width 1020), the"),
        (["--source-modality", "pixel", "--max-source-positions", "1"], "--max-source-positions and --max-target-"),
    ],
)
def test_training_that_cannot_be_is_refused(toy_translations, tmp_path, options, message):
    arguments = [toy_translations, *TRAINING, "--max-update", 2, "--save-dir", tmp_path, *options]
    with pytest.raises(SystemExit) as caught:
        train(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_generation_that_cannot_be_is_refused(toy_translations, translator, toy_data, checkpoint, finetuned, tmp_path):
    given = [*GENERATION, "--results-path", tmp_path, "--source-modality"]
    cases = {
        "its model reads no patches": [toy_translations, *given, "pixel", "--path", translator["text"]],
        "its model reads no tokens": [toy_translations, *given, "text", "--path", finetuned["stsb"].checkpoint],
        "a classifier predicts": [toy_translations, *given, "text", "--path", finetuned["mnli"].checkpoint],
        "no such file": [toy_translations, *given, "text", "--path", tmp_path / "absent.pt"],
        "holds no translations": [toy_data, *given, "pixel", "--path", checkpoint],
        "the tokenizer of the data": [toy_translations, *given, "text", "--path", checkpoint],
        "--match-source-len": [toy_translations, *given, "text", "--path", translator["text"], "--match-source-len"],
    }
    for message, arguments in cases.items():
        assert message in generation_error(*arguments)


def test_what_a_model_was_not_trained_for_is_a_warning(toy_translations, translator, tmp_path):
    def warned(modality, *options):
        given = [*GENERATION, "--results-path", tmp_path, "--source-modality", modality, *options]
        log = run(fairseq_cli.generate.cli_main, toy_translations, *given, "--path", translator["pixel"]).log
        return [line.partition(" | WARNING | ")[2] for line in log.splitlines() if " | WARNING | pixelgpt" in line]

    width, cut = warned("pixel", "--pair-patches", 3)
    assert "began at position 24, that of this run's begins at 3 (--pair-patches)" in width
    assert "8 sources are longer than 3 positions (--max-source-positions, --pair-patches)" in cut
    assert warned("text")[0].endswith("fine-tuned with --source-modality pixel, and given text")


def test_a_typed_line_that_is_empty_or_too_long_is_refused(toy_translations, translator, tmp_path):
    for text, message in (("  \n", "an empty line"), ("long " * 30 + "\n", "the most is 24 (--max-source-positions")):
        (tmp_path / "typed.txt").write_text(text)
        options = [
            *TASK,
            "--source-modality",
            "pixel",
            "--path",
            translator["pixel"],
            "--input",
            tmp_path / "typed.txt",
        ]
        with pytest.raises(SystemExit) as caught:
            run(fairseq_cli.interactive.cli_main, toy_translations, *options)
        assert message in str(caught.value)
