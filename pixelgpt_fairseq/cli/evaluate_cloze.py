"""How often a model finds the last word of a passage (LAMBADA, or lines of text) or a short answer (bAbI)."""

import argparse

from pixelgpt_fairseq.cli.model_options import add_checkpoint
from pixelgpt_fairseq.cli.reading_options import add_expected_words, expected_words
from pixelgpt_fairseq.errors import UserError, command


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_checkpoint(parser)
    parser.add_argument("--input", required=True, metavar="FILE", help="the passages or questions")
    parser.add_argument(
        "--format",
        choices=("json", "text", "babi"),
        help="JSON lines with the key text; a passage a line; bAbI's (default: what the first line looks like)",
    )
    parser.add_argument(
        "--modality", choices=("pixel", "text"), help="draw the word or write it (default: pixel if the model can)"
    )
    parser.add_argument("--patches", type=int, metavar="N", help="that are drawn (default: 4, for bAbI 5)")
    parser.add_argument("--alphabet", metavar="CHARACTERS", help="what may be read (default: the fonts' characters)")
    add_expected_words(parser)
    parser.add_argument("--no-ocr", action="store_true", help="do not let installed OCR programs read, too")
    parser.add_argument("--words", metavar="FILE", help="a word a line: tell how many words that were read are there")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="passages at a time (default: 16)")
    parser.add_argument("--output", metavar="TSV", help="every item with what each reader read")
    parser.add_argument("--overwrite", action="store_true", help="replace --output if it is there")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    for option, number in (
        ("--patches", 4 if args.patches is None else args.patches),
        ("--batch-size", args.batch_size),
    ):
        if number < 1:
            raise UserError(f"{option} {number}: at least 1")
    evaluate(args)


def evaluate(args):
    """Evaluate, print the shares, and write the items."""
    import pixelgpt_fairseq
    from pixelgpt_fairseq.evaluation import cloze
    from pixelgpt_fairseq.generation.word_list import read_word_list
    from pixelgpt_fairseq.storage.files import check_absent, write_whole

    if args.output:
        check_absent(args.output, "another --output", args.overwrite)
    items = cloze.read_items(args.input, args.format)
    words = read_word_list(args.words) if args.words else None
    expected = expected_words(args)
    loaded = pixelgpt_fairseq.load(args.checkpoint)
    modality = args.modality or ("pixel" if loaded.model.uses_patches else "text")
    if modality == "pixel":
        questions = args.format == "babi" or (args.format is None and items[0].prompt.endswith("?"))
        patches = args.patches or (5 if questions else 4)
        answers = cloze.answer_by_patches(
            loaded, items, patches, args.batch_size, args.alphabet, ocr=not args.no_ocr, words=expected
        )
    else:
        answers = cloze.answer_by_tokens(loaded, items)
    print(f"{len(items)} items, modality {modality}")
    for name, share in cloze.summarize(answers, words).items():
        print(f"{name}: {share:.4f}")
    if args.output:
        readers = list(answers[0].words)
        rows = [["prompt", "answer", *readers, "rank"]]
        for answer in answers:
            prompt = " ".join(answer.item.prompt.split())
            read = [answer.words[name] for name in readers]
            rows.append([prompt, answer.item.answer, *read, "" if answer.rank is None else str(answer.rank)])
        write_whole(args.output, "".join("\t".join(row) + "\n" for row in rows))
