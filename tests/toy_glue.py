"""Miniature GLUE folders, spelled as GLUE spells its files."""

import random

from toy_corpus import documents

from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.examples import Example

WORDS = sorted({word.strip('.,:;()"') for text in documents() for word in text.split() if word.isascii()} - {""})


def sentence(numbers, longest=9):
    """A random sentence of words, of random length."""
    return " ".join(numbers.choices(WORDS, k=numbers.randrange(2, longest))) + " ."


def write_tsv(path, *rows):
    """Write rows (tuples of values) to *path*, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def write_glue(folder, train=40, dev=13, seed=0):
    """Write toy RTE, CoLA, SST-2, STS-B, MNLI and the diagnostic set to *folder*."""
    numbers = random.Random(seed)

    def pair():
        return sentence(numbers, 15), sentence(numbers)

    for name, count in (("train", train), ("dev", dev), ("test", 5)):
        labeled = name != "test"
        rte, sst2, stsb = (folder / task / f"{name}.tsv" for task in ("RTE", "SST-2", "STS-B"))
        header = ("index", "sentence1", "sentence2", "label")
        rows = [(i, *pair(), numbers.choice(["entailment", "not_entailment"])) for i in range(count)]
        write_tsv(rte, *(row if labeled else row[:3] for row in (header, *rows)))
        header = ("sentence", "label") if labeled else ("index", "sentence")
        rows = [(sentence(numbers), i % 2) if labeled else (i, sentence(numbers)) for i in range(count)]
        write_tsv(sst2, header, *rows)
        header = ("index", "genre", "sentence1", "sentence2", "score")
        rows = [(i, "news", *pair(), round(numbers.uniform(0, 5), 3)) for i in range(count)]
        write_tsv(stsb, *(row if labeled else row[:4] for row in (header, *rows)))
        if labeled:
            write_tsv(folder / f"CoLA/{name}.tsv", *(("gj04", i % 2, "*", sentence(numbers)) for i in range(count)))
        else:
            write_tsv(folder / "CoLA/test.tsv", ("index", "sentence"), *((i, sentence(numbers)) for i in range(count)))
    words = ["neutral", "entailment", "contradiction"]
    header = ("index", "genre", "sentence1", "sentence2", "label1", "gold_label")
    for name in ("train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched"):
        rows = [(i, "fiction", *pair(), words[0], words[i % 3]) for i in range(6)]
        write_tsv(folder / f"MNLI/{name}.tsv", *(row[:4] if "test" in name else row for row in (header, *rows)))
    write_tsv(folder / "diagnostic/diagnostic.tsv", header[:1] + header[2:4], *((i, *pair()) for i in range(4)))
    return folder


def write_examples(folder, split, task, tokenizer, number):
    """Render toy examples of a task (a SentenceTask) to a split of the data folder *folder*."""
    numbers = random.Random(f"{task.name} {split}")
    sentences = 1 if task.name in ("cola", "sst2") else 2
    examples = [
        Example(
            tuple(sentence(numbers, 15) for _ in range(sentences)),
            numbers.uniform(0, 5) if task.regression else i % task.num_labels,
        )
        for i in range(number)
    ]
    binarize_examples(examples, folder, split, task, RendererConfig(max_patches=768), tokenizer, progress=False)
