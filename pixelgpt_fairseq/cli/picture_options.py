"""What the commands that draw pictures share: their options, and the check of numbers."""

from pixelgpt_fairseq.errors import UserError


def add_row_options(parser, patches_per_row, scale):
    """Add to *parser* how patches are laid out on a picture, with these defaults."""
    parser.add_argument(
        "--patches-per-row",
        type=int,
        default=patches_per_row,
        metavar="N",
        help=f"where rows are broken (default: {patches_per_row})",
    )
    parser.add_argument(
        "--scale", type=int, default=scale, metavar="N", help=f"screen pixels per pixel (default: {scale})"
    )


def row_limits(args):
    """The options of :func:`add_row_options`, for :func:`check_limits`."""
    return (("--patches-per-row", args.patches_per_row, 1024), ("--scale", args.scale, 16))


def check_limits(limits):
    """Refuse numbers below 1 or above their limits.

    Args:
        limits: triples of an option, its value and the greatest value.

    Raises:
        UserError: naming the option.
    """
    for option, number, most in limits:
        if not 1 <= number <= most:
            raise UserError(f"{option} {number}: from 1 to {most}")
