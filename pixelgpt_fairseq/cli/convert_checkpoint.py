"""Convert between the folders that the authors released and checkpoints of fairseq-train; change a tokenizer."""

import argparse
import sys
import time

from pixelgpt_fairseq.data.streams import MODALITIES
from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, task_name


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="import | export | retokenize")
    reading = commands.add_parser("import", help="make a checkpoint of a released folder")
    reading.add_argument(
        "folder", metavar="FOLDER", help="with config.json and weights; or OWNER/NAME on the Hugging Face hub"
    )
    reading.add_argument("checkpoint", metavar="CKPT", help="the file to be made, such as dualgpt.pt")
    reading.add_argument(
        "--glue-task",
        type=task_name,
        choices=GLUE_TASKS,
        help="what a classifier was fine-tuned on, where its folder does not tell",
    )
    reading.add_argument(
        "--modality",
        choices=MODALITIES,
        help="what a classifier reads, where its folder does not tell (default: pixel)",
    )
    writing = commands.add_parser("export", help="make a released folder of a checkpoint")
    writing.add_argument("checkpoint", metavar="CKPT", help="of fairseq-train, or made by import")
    writing.add_argument("folder", metavar="FOLDER", help="the folder to be made")
    changing = commands.add_parser("retokenize", help="give a checkpoint another tokenizer, to be trained further")
    changing.add_argument("checkpoint", metavar="CKPT", help="of fairseq-train, or made by import")
    changing.add_argument(
        "--tokenizer", required=True, metavar="FILE", help="the new one: a SentencePiece model or tokenizer.json"
    )
    changing.add_argument("output", metavar="OUT", help="the checkpoint to be made")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    {"import": import_folder, "export": export, "retokenize": change_tokenizer}[args.command](args)


def change_tokenizer(args):
    """Make a checkpoint with another tokenizer, and print what its tokens are made of."""
    from pixelgpt_fairseq.conversion.retokenization import retokenize
    from pixelgpt_fairseq.data.tokens import Tokenizer

    began = time.perf_counter()
    made = retokenize(args.checkpoint, Tokenizer.load(args.tokenizer), args.output)
    print(
        f"{args.output}: {made.tokens:,} tokens: {made.kept:,} kept, {made.averaged:,} made of others, "
        f"{made.unknown:,} that the old tokenizer does not know; {time.perf_counter() - began:.1f} s; "
        f"render data with it by --like {args.output}, and train on with --finetune-from-model {args.output}"
    )


def export(args):
    """Make a released folder of a checkpoint, and print what is in it."""
    from pixelgpt_fairseq.conversion.released_folders import export_released

    began = time.perf_counter()
    files = export_released(args.checkpoint, args.folder)
    print(f"{args.folder}: {', '.join(files)}; {time.perf_counter() - began:.1f} s")


def import_folder(args):
    """Make a checkpoint of a released folder, and print what it is."""
    from pixelgpt_fairseq.checkpoints.published import local_checkpoint
    from pixelgpt_fairseq.conversion.released_folders import import_released
    from pixelgpt_fairseq.data.data_folder import RENDERER_FILE, TOKENIZER_FILE

    began = time.perf_counter()
    task = GLUE_TASKS[args.glue_task][0] if args.glue_task else None
    model, auxiliary_files, files, left_behind = import_released(
        local_checkpoint(args.folder), args.checkpoint, task, args.modality
    )
    for name in left_behind:
        print(f"warning: {name} is too large to go with the model and was left behind", file=sys.stderr)
    if auxiliary_files.tokenizer is None and model.vocab_size is not None:
        print(
            f"warning: no {TOKENIZER_FILE}: render data with --tokenizer FILE to use the model on text", file=sys.stderr
        )
    if not auxiliary_files.data_settings.get("renderer") and model.uses_patches:
        print(f"warning: no {RENDERER_FILE}: text is drawn with the default settings and fonts", file=sys.stderr)
    kind = "language model" if model.num_labels is None else f"classifier of {model.num_labels} outputs"
    reads = " and ".join(["patches"] * model.uses_patches + ["tokens"] * (model.vocab_size is not None))
    if model.vocab_size is not None and model.config.extra_token_rows:
        reads += f" ({model.vocab_size:,}, and {model.config.extra_token_rows:,} rows of padding, never predicted)"
    size = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{args.checkpoint}: {kind} that reads {reads}, {size:,} parameters; beside the weights "
        f"{', '.join(files)}; {time.perf_counter() - began:.1f} s"
    )
