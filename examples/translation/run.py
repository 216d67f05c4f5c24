#!/usr/bin/env python3
"""Transliteration from XNLI's sentences, end to end: pairs of texts, a model that reads, fine-tuning, scores.

    python examples/translation/run.py XNLI WORK

XNLI is a folder with its files in English and Swahili (xnli.dev.tsv, xnli.test.tsv, multinli.train.en.tsv,
multinli.train.sw.tsv). Everything that is made goes to WORK, and what the commands print to WORK/log. Given again, the
command goes on where it was.

1. Sentences are cut into pieces of one to three words. The target of a piece is its transliteration into Cyrillic
   letters, by the rules below.
2. A small DualGPT learns to read: pairs of a picture of a piece and its text. It reads the pieces of the test set.
3. It is fine-tuned twice to write transliterations: from the pictures of the pieces, and from their tokens.
4. fairseq-generate writes the targets of pieces of XNLI's test set, none of which was trained on, and scores them.
"""

import argparse
import random
import re
import resource
from pathlib import Path

from pixelgpt_fairseq.cli.logged_commands import BIN, PIXELGPT, USER_DIR, run
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.sources.xnli import find_sources, read_source
from pixelgpt_fairseq.storage.files import write_whole

# Letters of Swahili and English words, and how they are written in Cyrillic; the longest that fits is taken first.
RULES = {
    "ng'": "нъ", "sh": "ш", "ch": "ч", "th": "ц", "dh": "дз", "gh": "гх", "kh": "х", "ph": "ф", "zh": "ж", "ts": "ц",
    "ny": "нь", "ya": "я", "yu": "ю", "yo": "ё", "ye": "е", "ee": "и", "oo": "у", "ck": "к", "qu": "кв",
    "a": "а", "b": "б", "c": "к", "d": "д", "e": "э", "f": "ф", "g": "г", "h": "х", "i": "и", "j": "дж", "k": "к",
    "l": "л", "m": "м", "n": "н", "o": "о", "p": "п", "q": "к", "r": "р", "s": "с", "t": "т", "u": "у", "v": "в",
    "w": "ў", "x": "кс", "y": "й", "z": "з",
}  # fmt: skip
_LETTERS = re.compile("|".join(sorted(map(re.escape, RULES), key=len, reverse=True)), re.IGNORECASE)
LANGUAGES = ("en", "sw")
MOST_WORDS = 3  # of a piece
HELD_OUT = {"valid": 500, "test": 1000}  # pieces
VOCABULARY = 700

MODEL = f"--user-dir {USER_DIR} --arch pixelgpt_small --cpu --bf16 --num-workers 0 --seed 1".split()
STEPS = "--optimizer fused_adamw --weight-decay 0.01 --clip-norm 1.0 --no-epoch-checkpoints --log-format simple".split()
PRETRAINING = (
    "--task rendered_pretraining --modalities pair --criterion patch_token_loss --patch-loss-weight 0.3 "
    "--sample-break-mode eos --tokens-per-sample 64 --pair-patches 24 --pair-tokens 40 --max-position-embeddings 64 "
    "--lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 100 --batch-size 192"
).split()
SOURCES = "--task rendered_translation --max-source-positions 24 --max-target-positions 40".split()
FINETUNING = (
    "--criterion target_token_loss --lr 5e-4 --lr-scheduler polynomial_decay --warmup-updates 40 --batch-size 192"
).split()
UPDATES = {"reader": 1400, "pixel": 300, "text": 300}


def transliterate(text):
    """A Latin text in Cyrillic letters; capitals stay capitals, and all other characters stay as they are."""

    def write(found):
        letters = RULES[found[0].lower()]
        return letters[0].upper() + letters[1:] if found[0][0].isupper() else letters

    return _LETTERS.sub(write, text)


def cut(sentences, numbers):
    """Pieces of one to ``MOST_WORDS`` words, each once, in an order by chance."""
    pieces = {}
    for sentence in sentences:
        words = sentence.split()
        while words:
            length = numbers.randint(1, MOST_WORDS)
            pieces[" ".join(words[:length])] = None
            words = words[length:]
    pieces = [piece for piece in pieces if len(piece) <= 30 and any(map(str.isalpha, piece))]
    numbers.shuffle(pieces)
    return pieces


def write_texts(xnli, work):
    """Write the pieces (``train.txt``), the tables with their transliterations (``train.tsv``...), and a tokenizer."""
    sentences = {"train": {}, "test": {}}
    for (split, language), source in find_sources(xnli).items():
        if language in LANGUAGES:
            texts = (text for example in read_source(source, language) for text in example.texts)
            sentences["test" if split == "test" else "train"].update(dict.fromkeys(texts))
    if not all(sentences.values()):
        raise UserError(f"{xnli}: no XNLI with its test set and training files in {' and '.join(LANGUAGES)}")
    numbers = random.Random(1)
    pieces = {split: cut(found, numbers) for split, found in sentences.items()}
    known = set(pieces["train"])
    new = [piece for piece in pieces.pop("test") if piece not in known]
    for split, count in HELD_OUT.items():
        pieces[split], new = new[:count], new[count:]
    for split, found in pieces.items():
        rows = [("latin", "cyrillic"), *((piece, transliterate(piece)) for piece in found)]
        write_whole(work / f"{split}.tsv", "".join("\t".join(row) + "\n" for row in rows))
        write_whole(work / f"{split}.txt", "".join(f"{piece}\n" for piece in found))
        print(f"{split}: {len(found):,} pieces, such as {found[0]!r}, in Cyrillic {transliterate(found[0])!r}")
    both = [text for piece in pieces["train"] for text in (piece, transliterate(piece))]
    write_whole(work / "tokenizer.model", train_tokenizer(iter(both), VOCABULARY).serialized)


def render(work):
    """Binarize the pieces as pairs, and the tables."""
    tokenizer = ["--tokenizer", work / "tokenizer.model"]
    for split in ("train", "valid"):
        if not (work / "pieces" / f"{split}.manifest.json").exists():
            texts = ["--documents", "line", "--input", work / f"{split}.txt", "--destdir", work / "pieces"]
            run([*PIXELGPT, "render-corpus", *texts, "--split", split, *tokenizer], work / "log")
    for split in ("train", *HELD_OUT):
        if not (work / "translations" / f"{split}.manifest.json").exists():
            table = ["--input", f"{split}={work / split}.tsv", "--columns", "latin", "cyrillic"]
            to = ["--destdir", work / "translations", *tokenizer]
            run([*PIXELGPT, "render-translation", *table, *to], work / "log")


def train(work, name, data, *options):
    """Train one model, unless that is done; an interrupted run goes on."""
    done = work / name / "done"
    if done.exists():
        return
    before = processor_minutes()
    updates = ["--max-update", UPDATES[name], "--total-num-update", UPDATES[name]]
    often = ["--validate-interval-updates", 100, "--save-interval-updates", 100, "--keep-interval-updates", 1]
    save = ["--save-dir", work / name, "--log-interval", 20]
    run([BIN / "fairseq-train", work / data, *MODEL, *STEPS, *options, *updates, *often, *save], work / "log")
    done.touch()
    print(f"{name}: {UPDATES[name]} updates, {processor_minutes() - before:.1f} minutes of processor time", flush=True)


def processor_minutes():
    """Processor time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def show_reading(work):
    """Let the reader read the pieces of the test set from their pictures, and print how well it does."""
    given = ["--checkpoint", work / "reader" / "checkpoint_last.pt", "--input", work / "test.txt", "--max-tokens", 39]
    to = ["--output", work / "reader" / "read.tsv", "--overwrite"]
    run(
        [*PIXELGPT, "evaluate-reading", *given, *to],
        work / "log",
        lambda line: line.startswith("|") and print(line, end=""),
    )


def score(work, name):
    """Write the targets of the test set, and return what the scorers say."""
    told = []
    for scorer in ("chrf++", "cer"):
        given = ["--source-modality", name, "--path", work / name / "checkpoint_last.pt", "--gen-subset", "test"]
        given += ["--scoring", scorer, "--beam", 1, "--batch-size", 100, "--results-path", work / name / "generated"]
        options = ["--user-dir", USER_DIR, "--cpu", *SOURCES, "--max-len-b", 39]
        run([BIN / "fairseq-generate", work / "translations", *options, *given], work / "log")
        last = (work / name / "generated" / "generate-test.txt").read_text(encoding="utf-8").splitlines()[-1]
        told.append(last.partition(": ")[2])
    return told


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xnli", type=Path, metavar="XNLI", help="the folder of its files")
    parser.add_argument("work", type=Path, metavar="WORK", help="the folder for all that is made")
    return parser


@command
def main(argv=None):
    """Run what is not done yet, and print the scores."""
    args = get_parser().parse_args(argv)
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()) and not (work / "log").exists():
        raise UserError(f"{work}: holds other things: name another folder")
    (work / "log").touch()
    if not (work / "tokenizer.model").exists():  # the last of the texts
        write_texts(args.xnli, work)
    render(work)
    train(work, "reader", "pieces", *PRETRAINING)
    show_reading(work)
    begin = ["--finetune-from-model", work / "reader" / "checkpoint_last.pt"]
    for name in ("pixel", "text"):
        train(work, name, "translations", *SOURCES, "--source-modality", name, *FINETUNING, *begin)
        for told in score(work, name):
            print(f"source as {name}: {told}", flush=True)


if __name__ == "__main__":
    main()
