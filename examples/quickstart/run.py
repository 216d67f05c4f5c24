#!/usr/bin/env python3
"""The whole road in minutes on a CPU: real text to patches, a small DualGPT, its losses, and a picture.

The text is the Python language reference that every CPython carries (``pydoc_data.topics``).
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TEXT = "The while statement is used for repeated execution as long as an expression is true."
LOSSES = ("pixel_patch_loss", "text_token_loss", "pair_patch_loss", "pair_token_loss")


def main():
    """Run every step, printing its command, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="folder for all that is made")
    parser.add_argument("--max-update", type=int, default=900, help="updates of pretraining")
    args = parser.parse_args()
    args.output = args.output.resolve()
    began = time.perf_counter()
    marker = args.output / "made-by-the-quickstart"
    if args.output.exists() and any(args.output.iterdir()) and not marker.exists():
        sys.exit(f"error: {args.output} holds other things: choose another --output")
    texts, data, checkpoints = folders = [args.output / name for name in ("text", "data", "checkpoints")]
    log, picture = files = [args.output / "train.log", args.output / "predictions.png"]
    remove(folders, files)
    args.output.mkdir(parents=True, exist_ok=True)
    marker.touch()

    write_text(texts)
    step("1. Text to patches and tokens")
    script = [sys.executable, ROOT / "scripts" / "render_corpus.py", "--destdir", data]
    run(*script, "--input", texts / "train.txt", "--split", "train", "--train-tokenizer", 2000)
    run(*script, "--input", texts / "valid.txt", "--split", "valid")

    step("2. Pretrain a DualGPT: patches, tokens, and pairs of both")
    run(BIN / "fairseq-train", data, *training_options(args.max_update), "--save-dir", checkpoints, "--log-file", log)

    step("3. Validate the checkpoint")
    last = checkpoints / "checkpoint_last.pt"
    options = "--user-dir pixelgpt_fairseq --task rendered_pretraining --batch-size 8 --cpu".split()
    run(BIN / "fairseq-validate", data, *options, "--path", last)

    step("4. Draw what the model predicts")
    script = [sys.executable, ROOT / "scripts" / "show_predictions.py"]
    run(*script, "--checkpoint", last, "--text", TEXT, "--output", picture)

    step(f"Done in {time.perf_counter() - began:.0f} s")
    summarise(args.output, log, picture)


def remove(folders, files):
    """Remove what an earlier run made, and nothing that was put beside it; of links, the links alone."""
    for path in (*folders, *files):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def training_options(max_update):
    """Options of fairseq-train: a model of 2.7 million parameters, 8 blocks of 256 positions an update.

    The patch loss is weighted up: in a small shared network, the gradients of the token loss drown its own.
    """
    return shlex.split(
        f"""
        --user-dir pixelgpt_fairseq --task rendered_pretraining --modalities text,pixel,pair --modality-weights 1,1,1
        --tokens-per-sample 256 --arch pixelgpt_tiny --criterion patch_token_loss --patch-loss-weight 10
        --optimizer adam --adam-betas '(0.9, 0.95)' --weight-decay 0.1 --clip-norm 1.0 --batch-size 8 --cpu
        --lr-scheduler cosine --lr 2e-3 --warmup-updates 30 --max-update {max_update} --seed 1
        --validate-interval-updates 50 --save-interval-updates 200 --keep-interval-updates 1 --no-epoch-checkpoints
        --log-format simple --log-interval 10
        """
    )


def write_text(folder):
    """Write the paragraphs of the topics as documents: every twentieth for validation."""
    folder.mkdir()
    documents = [" ".join(paragraph.split()) for topic in topics.values() for paragraph in topic.split("\n\n")]
    documents = [document for document in documents if document]
    for name, chosen in (
        ("train", [document for i, document in enumerate(documents) if i % 20]),
        ("valid", documents[::20]),
    ):
        (folder / f"{name}.txt").write_text("\n\n".join(chosen) + "\n", encoding="utf-8")


def summarise(output, log, picture):
    """Print the files, the first and last validation loss of each modality, and where the picture is."""
    print("Files:")
    for path in sorted(output.rglob("*")):
        if path.is_file() and not path.name.startswith("made-by"):
            print(f"  {path.relative_to(output.parent)}  {path.stat().st_size:,} bytes")
    validations = [line for line in log.read_text(encoding="utf-8").splitlines() if " valid on " in line]
    print("Validation loss, first and last:")
    fell = True
    for name in LOSSES:
        values = [float(found[1]) for line in validations if (found := re.search(rf"\b{name} ([\d.]+)", line))]
        print(f"  {name:17} {values[0]:.3f} -> {values[-1]:.3f}")
        fell = fell and values[-1] < values[0]
    print(f"Picture: {picture}")
    tell_what_is_missing()
    if not fell:
        sys.exit("error: a validation loss did not fall")


def tell_what_is_missing():
    """Print the command that brings what shaped text needs, where it is not there."""
    from PIL import features

    if not features.check("raqm"):
        from pixelgpt_fairseq.rendering.bidi import INSTALL_FRIBIDI

        print("Missing: the FriBiDi library, without which --renderer-backend pillow cannot draw shaped text (Arabic")
        print(f"  joined, Hindi with its ligatures, emoji in color). Install it: {INSTALL_FRIBIDI}")


def step(title):
    """Print a heading."""
    print(f"\n== {title} ==", flush=True)


def run(*command):
    """Print and run a command in the checkout; stop if it fails."""
    command = [str(part) for part in command]
    print("$", shlex.join(command), flush=True)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            # fairseq logs its whole configuration in one line.
            print(line if len(line) < 1000 else f"{line[:100]}... ({len(line):,} characters)\n", end="", flush=True)
    if process.returncode != 0:
        sys.exit(f"error: {Path(command[0]).name} ended with status {process.returncode}")


if __name__ == "__main__":
    main()
