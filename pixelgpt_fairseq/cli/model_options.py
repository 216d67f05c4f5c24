"""The option of commands that use a model."""


def add_checkpoint(parser):
    """Add ``--checkpoint``, for :func:`pixelgpt_fairseq.load`."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="CKPT",
        help="a checkpoint of fairseq-train, or a released folder, here or as OWNER/NAME on the Hugging Face hub",
    )
