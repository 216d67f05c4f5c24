"""Options of commands that read strips back."""


def add_expected_words(parser):
    """Add ``--expected-words``."""
    parser.add_argument(
        "--expected-words",
        metavar="FILE",
        help="a word on each line; another word is read only where it fits clearly better",
    )


def expected_words(args):
    """The WordList of ``--expected-words``, or None.

    Raises:
        UserError: if the file cannot be read or has no words.
    """
    from pixelgpt_fairseq.generation.word_list import read_word_list

    return read_word_list(args.expected_words) if args.expected_words else None
