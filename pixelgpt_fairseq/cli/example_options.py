"""Options that the commands which render examples with labels share."""

from pixelgpt_fairseq.cli.renderer_options import add_max_missing, add_renderer_options

MAX_PATCHES = 768  # of an example, where neither an option nor --like says otherwise


def add_split_options(parser):
    """Add to *parser* where splits go and what of them is let through."""
    parser.add_argument("--destdir", required=True, metavar="DIR", help="data folder, made if absent")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="only these (default: all whose files are there)")
    parser.add_argument("--overwrite", action="store_true", help="replace splits that are there")
    parser.add_argument(
        "--skip-bad-rows",
        "--skip-bad-lines",
        action="store_true",
        help="pass over rows with wrong columns, unknown labels or empty sentences, and count them",
    )
    add_max_missing(parser)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")


def add_rendering_options(parser):
    """Add to *parser* how text is drawn and tokenized."""
    base = parser.add_argument_group("look and tokens (default: as the data folder's other splits)")
    base.add_argument(
        "--like", metavar="PATH", help="as this data folder, checkpoint or OWNER/NAME on the Hugging Face hub has them"
    )
    base.add_argument("--tokenizer", metavar="FILE", help="SentencePiece model or tokenizer.json: the checkpoint's")
    add_renderer_options(parser, "look, where it is to be another", MAX_PATCHES)


def add_released_options(parser, example):
    """Add to *parser* where the authors' rendered data is; *example* is the name of one of its folders."""
    group = parser.add_argument_group("the authors' rendered data (instead of text)")
    group.add_argument(
        "--released",
        metavar="PATH",
        help=f"a folder with folders such as {example}, the archive of them, or OWNER/NAME on the Hugging Face hub",
    )
    group.add_argument(
        "--verify-rendering",
        action="store_true",
        help="draw the text of every strip, too, and say how many are identical; the look is chosen as for rendering",
    )
