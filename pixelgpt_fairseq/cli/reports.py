"""What the commands that render print alike."""

import sys


def print_skipped(skipped):
    """Print the first of the rows that were passed over.

    Args:
        skipped: :class:`~pixelgpt_fairseq.sources.bad_rows.SkippedRows`.
    """
    for error in skipped.first:
        print(f"warning: skipped: {error}", file=sys.stderr)


def print_warnings(path, summary, skipped, perturbation, texts):
    """Print what a person is to know of the texts of a split.

    Args:
        path: of the table, for messages.
        summary: of the split, with ``attacked`` and ``missing``.
        skipped: see :func:`print_skipped`.
        perturbation: of the texts, or None.
        texts: what to call them.
    """
    if perturbation and not summary.attacked:
        print(f"warning: {path}: {perturbation.name} changed none of the {texts}", file=sys.stderr)
    for line in summary.missing:
        print(f"warning: {path}: no font has a glyph for {line}", file=sys.stderr)
    print_skipped(skipped)
