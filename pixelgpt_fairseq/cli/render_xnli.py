"""Render and tokenize XNLI, each language by itself, for fine-tuning in every modality.

A language's splits are named train.sw, valid.sw and test.sw. They come from multinli.train.sw.tsv, xnli.dev.tsv and
xnli.test.tsv; for fine-tuning, train with --task rendered_xnli.
"""

import argparse
from pathlib import Path

from pixelgpt_fairseq.cli.attack_options import RELEASED_STRIPS, add_attack_options, perturbations_of, refuse_attack
from pixelgpt_fairseq.cli.example_options import add_released_options, add_rendering_options, add_split_options
from pixelgpt_fairseq.cli.reports import print_skipped
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.sources.bad_rows import SkippedRows
from pixelgpt_fairseq.sources.xnli import (
    LANGUAGES,
    SPLITS,
    XNLI,
    file_name,
    find_sources,
    parse_languages,
    read_source,
    split_name,
)


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--xnli-dir",
        metavar="DIR",
        help="XNLI as distributed: xnli.dev.tsv, xnli.test.tsv, multinli.train.LANGUAGE.tsv, or the folders XNLI-1.0 "
        "and XNLI-MT-1.0 with them",
    )
    parser.add_argument(
        "--languages",
        metavar="CODES",
        help="only these, such as en,sw, and all of them (default: those that are there)",
    )
    parser.add_argument("--resume", action="store_true", help="leave the splits that are there as they are")
    parser.add_argument("--require-all", action="store_true", help="all fifteen languages must have every split")
    parser.add_argument(
        "--detokenize",
        action="store_true",
        help="mend text with spaces around its punctuation, as the published training files have it, the way GLUE's is",
    )
    add_split_options(parser)
    add_released_options(parser, "xnli-sw-train")
    add_attack_options(parser)
    add_rendering_options(parser)
    return parser


def choose_sources(args):
    """What is to be rendered: (split, language) -> Source; and the errors of rows whose language nobody can tell.

    Raises:
        UserError: if a language is absent that was asked for, or there is nothing at all.
    """
    if not Path(args.xnli_dir).is_dir():
        raise UserError(f"--xnli-dir {args.xnli_dir}: no such folder")
    splits = args.splits or SPLITS
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"--splits {split}: XNLI has {', '.join(SPLITS)}")
    wanted = parse_languages(args.languages) if args.languages is not None else list(LANGUAGES)
    skipped = SkippedRows()
    sources = find_sources(args.xnli_dir, splits, skipped if args.skip_bad_rows else None)
    sources = {key: source for key, source in sources.items() if key[1] in wanted}
    if not sources:
        names = ", ".join(file_name(split, wanted[0]) for split in splits)
        raise UserError(f"--xnli-dir {args.xnli_dir}: none of these languages in files such as {names}")
    for split in splits:
        absent = [language for language in wanted if (split, language) not in sources]
        if not absent:
            continue
        line = f"{args.xnli_dir}, {split}: no {', '.join(absent)} in {file_name(split, 'LANGUAGE')}"
        if args.require_all or args.languages is not None:
            asked = "--require-all" if args.require_all else f"--languages {args.languages}"
            raise UserError(f"{line}, but {asked} asks for it")
        print(line)
    return sources, skipped


def binarize_released_xnli(args):
    """Binarize the languages and splits that ``--released`` has, or those that were asked for."""
    from pixelgpt_fairseq.cli.released_splits import binarize_released_split, find_released_splits, missing_split
    from pixelgpt_fairseq.data.data_folder import DataFolder
    from pixelgpt_fairseq.preprocessing.partial_folder import check_destination

    folder, found = DataFolder(args.destdir), {}
    languages = parse_languages(args.languages) if args.languages is not None else LANGUAGES
    for language in languages:
        there = find_released_splits(args, f"xnli-{language}", args.splits or SPLITS)
        for split in args.splits or SPLITS:
            if split in there:
                found[split_name(split, language)] = there[split]
            elif args.require_all or args.languages is not None:
                raise missing_split(args, f"xnli-{language}", split)
    if not found:
        raise UserError(f"--released {args.released}: no folders such as xnli-en-train in it")
    for split in args.splits or SPLITS:
        absent = [language for language in languages if split_name(split, language) not in found]
        if absent:
            print(f"{args.released}, {split}: no {', '.join(absent)}")
    if args.resume:
        found = {name: path for name, path in found.items() if name not in folder.splits()}
    for name in found:
        check_destination(folder, name, args.overwrite)
    for name, path in found.items():
        binarize_released_split(args, folder.path, name, XNLI, path, args.detokenize)


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    if bool(args.xnli_dir) == bool(args.released):
        raise UserError("name --xnli-dir, or --released")
    if args.verify_rendering and not args.released:
        raise UserError("--verify-rendering: there is nothing to compare with but in --released")
    if args.released:
        refuse_attack(args, RELEASED_STRIPS)
        binarize_released_xnli(args)
        return
    render_xnli(args, *choose_sources(args))


def render_xnli(args, sources, skipped):
    """Render languages and splits, and print what came of each.

    Args:
        args: the command line.
        sources, skipped: see :func:`choose_sources`.
    """
    from pixelgpt_fairseq.cli.example_splits import render_split
    from pixelgpt_fairseq.data.data_folder import DataFolder
    from pixelgpt_fairseq.preprocessing.partial_folder import check_destination

    folder = DataFolder(args.destdir)
    if args.resume:
        there = folder.splits()
        sources = {key: source for key, source in sources.items() if split_name(*key) not in there}
        if not sources:
            print(f"{folder.path}: has all of these splits")
            return
    perturbations = perturbations_of(args, [split_name(*key) for key in sources])
    for split, language in sources:
        check_destination(folder, split_name(split, language), args.overwrite)
    print_skipped(skipped)
    if skipped.count:
        print(f"{skipped.count:,} rows skipped in which no language can be told")
    missing = dict.fromkeys((language for _, language in sources), 0)
    for (split, language), source in sources.items():

        def read(on_bad_row, source=source, language=language):
            return read_source(source, language, on_bad_row, args.detokenize)

        name = split_name(split, language)
        render_split(args, folder.path, name, XNLI, f"{source.path}, {language}", read, perturbations[name])
        missing[language] += sum(folder.read_manifest(name)["missing_characters"].values())
    listed = ", ".join(f"{language} {count:,}" for language, count in missing.items() if count)
    print(f"{len(missing)} languages; characters that no font has: {listed or 'none'}")
