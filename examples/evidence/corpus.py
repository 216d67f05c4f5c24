#!/usr/bin/env python3
"""Collect real text for pretraining: Debian packages and the sentences of GLUE's and XNLI's training sets, no labels.

Prose is taken out of the packages' HTML pages, text files, dictionaries and manuals, and cut into sentences.
Sentences that came before are dropped, and so is whatever shares 13 words in a row with a text of a validation or test
set, or is one of these texts as a whole. The folder of ``--output`` then holds, one text a line:

    train.txt         sentences, shuffled
    train_lines.txt   the same text cut into lines of one to four words, with which learning to read begins
    valid.txt         held out: texts of the validation sets
    valid_lines.txt   held-out lines of one to ten words, as many of each length
    report.md         packages, versions, licenses, and how much was taken of each source
"""

import argparse
import random
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import prose

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.sources.examples import read_examples
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, find_source
from pixelgpt_fairseq.sources.xnli import TEST, TRAIN, VALID, find_sources, read_source
from pixelgpt_fairseq.storage.files import check_absent, whole_folder

GLUE = ("sst2", "cola", "rte")
NGRAM = 13  # words in a row that make two texts overlap
LINE_WORDS = 4  # of the longest line in train_lines.txt
READ_WORDS = 10  # of the longest line in valid_lines.txt
LINES_OF_A_LENGTH = 100  # in valid_lines.txt
VALID_TEXTS = 500
MOST_OF_A_PACKAGE = 0.4  # of --most-mb
SEED = 1
REPORT = "report.md"


class Taken(NamedTuple):
    """What was taken of one source."""

    source: str
    version: str
    license: str
    found: int  # sentences
    kept: int
    characters: int


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glue-dir", type=Path, required=True, metavar="DIR", help="folders SST-2, CoLA, RTE")
    parser.add_argument("--xnli-dir", type=Path, metavar="DIR", help="xnli.dev.tsv, multinli.train.en.tsv, ...")
    parser.add_argument("--packages", nargs="*", default=[], metavar="NAME", help="Debian packages, fetched by apt-get")
    parser.add_argument("--most-mb", type=float, default=50, metavar="MB", help="of text from packages (default: 50)")
    parser.add_argument("--most-lines", type=int, default=500_000, metavar="N", help="of train_lines.txt")
    parser.add_argument("--language", default="en", help="whose training set of XNLI is taken (default: en)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to be made")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if this script has made it")
    return parser


@command
def main(argv=None):
    """Write the folder, whole or not at all."""
    args = get_parser().parse_args(argv)
    if args.overwrite and (args.output / REPORT).exists():
        shutil.rmtree(args.output)
    check_absent(args.output, "another --output", folder=True)
    held_out = task_texts(args.glue_dir, args.xnli_dir, "valid", VALID)
    known = Known(
        text
        for texts in (*held_out.values(), *task_texts(args.glue_dir, args.xnli_dir, "test", TEST).values())
        for text in texts
    )
    taken, sentences = [], []
    for source, texts in task_texts(args.glue_dir, args.xnli_dir, "train", TRAIN).items():
        if not source.startswith("XNLI") or source == f"XNLI {args.language}":
            texts = [text for text in texts if len(text) <= prose.MOST_CHARACTERS]
            take(taken, sentences, known, (f"{source}, training set", "", "for research, as its publisher says"), texts)
    room = int(args.most_mb * 1e6)
    with tempfile.TemporaryDirectory() as scratch:
        for number, name in enumerate(args.packages, start=1):
            print(f"package {number} of {len(args.packages)}: {name}; {room / 1e6:.1f} MB to go", flush=True)
            fetched = prose.fetch(name, Path(scratch)) if room > 0 else None
            if fetched is None:
                print(f"{name}: {'apt does not offer it' if room > 0 else 'not needed'}", flush=True)
                continue
            unpacked, version = fetched
            source = name, version, prose.license_of(unpacked, name)
            most = min(room, int(args.most_mb * 1e6 * MOST_OF_A_PACKAGE))
            room -= take(taken, sentences, known, source, prose.sentences_of(unpacked), most)
    if not sentences:
        raise UserError(f"--glue-dir {args.glue_dir}: no training sets of {', '.join(GLUE)} in it, and no packages")
    random.Random(SEED).shuffle(sentences)
    with whole_folder(args.output) as folder:
        write(folder, sentences, held_out, args.language, args.most_lines)
        (folder / REPORT).write_text(report(taken, known), encoding="utf-8")
    print((args.output / REPORT).read_text(encoding="utf-8"), end="")


def words_of(text) -> list[str]:
    """The words by which texts are compared: lower case, no punctuation."""
    return re.findall(r"\w+", text.lower())


class Known:
    """Tells whether a sentence came before, or overlaps with a text of a validation or test set.

    Args:
        held_out: those texts.
    """

    def __init__(self, held_out):
        self.texts, self.held_out, self.repeated, self.overlapping = set(), set(), 0, 0
        for text in held_out:
            self.held_out.update(self._keys(text))

    @staticmethod
    def _keys(text):
        """Every 13 words in a row of a text, and the whole text."""
        words = words_of(text)
        runs = (words[start : start + NGRAM] for start in range(len(words) - NGRAM + 1))
        return {" ".join(run) for run in (words, *runs)}

    def is_new(self, sentence) -> bool:
        """Whether a sentence may be taken; from then on it is known."""
        whole = " ".join(words_of(sentence))
        if whole in self.texts:
            self.repeated += 1
            return False
        self.texts.add(whole)
        if not self.held_out.isdisjoint(self._keys(sentence)):
            self.overlapping += 1
            return False
        return True


def take(taken, sentences, known, source, texts, most=None):
    """Add what is new among *texts* to *sentences*, up to *most* characters; returns how many characters it is."""
    found = kept = characters = 0
    for text in texts:
        if most is not None and characters >= most:
            break
        found += 1
        if known.is_new(text):
            kept, characters = kept + 1, characters + len(text)
            sentences.append(text)
    taken.append(Taken(*source, found, kept, characters))
    return characters


def task_texts(glue_dir, xnli_dir, glue_split, xnli_split):
    """Task -> the texts of a split, without labels, of the tasks whose files are there."""
    texts = {}
    for name in GLUE:
        task, sources = GLUE_TASKS[name]
        source = next((source for source in sources if source.split == glue_split), None)
        path = source and find_source(source, glue_dir)
        if path is not None:
            texts[f"GLUE {name}"] = single(read_examples(path, task, source.columns, source.label))
    found = find_sources(xnli_dir, [xnli_split]) if xnli_dir else {}
    for (_, language), source in found.items():
        texts[f"XNLI {language}"] = single(read_source(source, language))
    return texts


def single(examples):
    """The texts of examples, each once."""
    return list(dict.fromkeys(" ".join(text.split()) for example in examples for text in example.texts if text.strip()))


def cut(sentence, numbers, longest):
    """A sentence as lines of one to *longest* words."""
    words, lines = sentence.split(), []
    while words:
        length = numbers.randint(1, longest)
        lines.append(" ".join(words[:length]))
        words = words[length:]
    return lines


def write(folder, sentences, held_out, language, most_lines):
    """Write the files of text that the module's docstring lists, all but the report.

    Args:
        folder: Path.
        sentences: of training, shuffled.
        held_out: what :func:`task_texts` gives for the validation sets.
        language: whose texts of XNLI are to be read.
        most_lines: of train_lines.txt.
    """
    numbers = random.Random(SEED)
    lines = [line for sentence in sentences for line in cut(sentence, numbers, LINE_WORDS)]
    numbers.shuffle(lines)
    texts = [
        text
        for source, found in held_out.items()
        if source in (*map("GLUE {}".format, GLUE), f"XNLI {language}")
        for text in found
        if len(text) <= prose.MOST_CHARACTERS
    ]
    numbers.shuffle(texts)
    of_length = {length: [] for length in range(1, READ_WORDS + 1)}
    for text in texts:
        words = text.split()
        length = min(of_length, key=lambda length: len(of_length[length]))
        if len(words) >= length and len(of_length[length]) < LINES_OF_A_LENGTH:
            start = numbers.randrange(len(words) - length + 1)
            of_length[length].append(" ".join(words[start : start + length]))
    for name, content in (
        ("train", sentences),
        ("train_lines", lines[:most_lines]),
        ("valid", texts[:VALID_TEXTS]),
        ("valid_lines", [line for found in of_length.values() for line in found]),
    ):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in content), encoding="utf-8")


def report(taken, known):
    """The report in Markdown."""
    rows = [["source", "version", "license", "sentences found", "taken", "characters"], ["---"] * 3 + ["---:"] * 3]
    rows += [[*source[:3], *(f"{number:,}" for number in source[3:])] for source in taken]
    kept, characters = sum(source.kept for source in taken), sum(source.characters for source in taken)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + (
        f"\n{kept:,} sentences, {characters:,} characters. Dropped: {known.repeated:,} that came before, "
        f"{known.overlapping:,} that overlap with a validation or test set.\n"
    )


if __name__ == "__main__":
    main()
