"""The whole road in minutes on a CPU: real text to patches, a small DualGPT, its losses, and a picture.

The text is the Python language reference that every CPython carries (``pydoc_data.topics``). Interrupted and given
again, the demo goes on where it was, stage by stage. What the commands print goes to a log file; here, each stage has a
progress bar, and the losses make a table that grows.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

from tqdm import tqdm

from pixelgpt_fairseq.cli.logged_commands import BIN, PIXELGPT, USER_DIR, run

TEXT = "The while statement is used for repeated execution as long as an expression is true."
LOSSES = ("pixel_patch_loss", "text_token_loss", "pair_patch_loss", "pair_token_loss")
# Everything that the demo makes in its folder; the first says which stages are finished.
STAGES, LOG, PICTURE = FILES = ("made-by-the-quickstart", "demo.log", "predictions.png")
TEXTS, DATA, CHECKPOINTS = FOLDERS = ("text", "data", "checkpoints")
INTERRUPTED = 130


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for all that is made")
    parser.add_argument("--max-update", type=int, default=900, help="updates of pretraining")
    parser.add_argument("--overwrite", action="store_true", help="start over, without what an earlier run made")
    return parser


def main(argv=None):
    """Run every stage that is not finished, and sum up."""
    args = get_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Demo(args.output.resolve(), args.max_update, args.overwrite).run()
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it was", file=sys.stderr)
        sys.exit(INTERRUPTED)


class Demo:
    """The stages, in one folder.

    Args:
        output: the folder; made if need be.
        max_update: updates of pretraining.
        overwrite: whether to remove what an earlier run made.
    """

    def __init__(self, output, max_update, overwrite=False):
        self.output, self.max_update = output, max_update
        marker = output / STAGES
        if output.exists() and any(output.iterdir()) and not marker.exists():
            sys.exit(f"error: {output} holds other things: choose another --output")
        if overwrite:
            remove([output / name for name in FOLDERS], [output / name for name in FILES])
        output.mkdir(parents=True, exist_ok=True)
        self.finished = self.read_finished()
        self.write_finished()
        self.log = output / LOG

    def read_finished(self):
        """The finished stages: name -> number of updates of the model that each is about, 0 before there is one."""
        marker = self.output / STAGES
        if not marker.exists():
            return {}
        try:
            return dict(json.loads(marker.read_text(encoding="utf-8")))
        except ValueError:
            sys.exit(f"error: {marker}: does not say which stages are finished: start over with --overwrite")

    def write_finished(self):
        """Write which stages are finished, whole or not at all."""
        new = self.output / f"{STAGES}.new"
        new.write_text(json.dumps(self.finished), encoding="utf-8")
        new.replace(self.output / STAGES)

    def run(self):
        """Run the stages."""
        began = time.perf_counter()
        print(f"Everything goes to {self.output}, and what the commands print to {self.log}", flush=True)
        checkpoint = self.output / CHECKPOINTS / "checkpoint_last.pt"
        data = self.output / DATA
        self.stage("1. Text to patches and tokens", self.render, 0, data / "valid.manifest.json")
        self.stage("2. Pretrain a DualGPT: patches, tokens, and pairs of both", self.train, self.max_update, checkpoint)
        self.stage("3. Validate the checkpoint, from the file alone", self.validate, self.max_update, checkpoint)
        picture = self.output / PICTURE
        self.stage("4. Draw what the model predicts", self.draw, self.max_update, picture)
        print(f"\nDone in {time.perf_counter() - began:.0f} s")
        self.summarize(checkpoint, picture)

    def stage(self, title, work, updates, result):
        """Do *work*, unless it was finished for a model of so many *updates*, and its *result* is there."""
        print(f"\n{title}", flush=True)
        name = work.__name__
        if self.finished.get(name) == updates and result.exists():
            print("  done before", flush=True)
            return
        work()
        self.finished[name] = updates
        self.write_finished()

    def render(self):
        """Write the text, train a tokenizer, render and binarize both splits."""
        texts, data = self.output / TEXTS, self.output / DATA
        write_text(texts)
        with bar(100, "{percentage:3.0f}%") as shown:
            for split, share, more in (("train", 95, ["--train-tokenizer", 2000]), ("valid", 5, [])):
                before = shown.n

                def heard(line, before=before, split=split, share=share):
                    if found := re.match(rf"{split}: +(\d+)%", line):
                        advance(shown, before + share * int(found[1]) / 100)

                if not (data / f"{split}.manifest.json").exists():
                    inputs = ["--destdir", data, "--input", texts / f"{split}.txt", "--split", split, *more]
                    run([*PIXELGPT, "render-corpus", *inputs], self.log, heard)
                advance(shown, before + share)

    def train(self):
        """Pretrain; an interrupted run goes on from its last checkpoint."""
        options = [*training_options(self.max_update), "--save-dir", self.output / CHECKPOINTS]
        with bar(self.max_update, "update {n:.0f} of {total}") as shown:
            write_row(["update", *LOSSES])
            before = validations(self.log)
            for update, losses in before.items():
                write_losses(update, losses)
            advance(shown, max(before, default=0))

            def heard(line):
                if found := re.search(r"\| train_inner \| .*\"num_updates\": \"(\d+)\"", line):
                    advance(shown, int(found[1]))
                elif row := validation(line):
                    advance(shown, row[0])
                    write_losses(*row)

            run([BIN / "fairseq-train", self.output / DATA, *options], self.log, heard)
            advance(shown, self.max_update)

    def validate(self):
        """Validate the last checkpoint."""
        options = "--task rendered_pretraining --batch-size 8 --cpu --log-format simple"
        path = self.output / CHECKPOINTS / "checkpoint_last.pt"
        with bar(1, "{percentage:3.0f}%") as shown:

            def heard(line):
                if found := re.search(r"valid on .*?(\d+) / (\d+)", line):
                    advance(shown, int(found[1]) / int(found[2]))

            more = ["--user-dir", USER_DIR, *options.split(), "--log-interval", 1, "--path", path]
            run([BIN / "fairseq-validate", self.output / DATA, *more], self.log, heard)
            advance(shown, 1)

    def draw(self):
        """Draw a sentence and the predictions of the last checkpoint."""
        checkpoint, picture = self.output / CHECKPOINTS / "checkpoint_last.pt", self.output / PICTURE
        with bar(1, "{percentage:3.0f}%") as shown:
            options = [*picture_options(checkpoint, TEXT, picture), "--overwrite"]
            run([*PIXELGPT, "show-predictions", *options], self.log)
            advance(shown, 1)

    def summarize(self, checkpoint, picture):
        """Print the first and last validation loss of each modality, where the picture is, and what to do next."""
        rows = list(validations(self.log).values())
        print("Validation loss, first and last:")
        fell = True
        for name in LOSSES:
            first, last = rows[0][name], rows[-1][name]
            print(f"  {name:17} {first:.3f} -> {last:.3f}")
            fell = fell and (last < first or len(rows) == 1)
        print(f"Picture: {picture}")
        print("  Below each patch and each token is what the model predicted there from all to its left.")
        print("Next, a picture of a sentence of your own, and a corpus of your own (README.md goes on from there):")
        pixelgpt = shlex.quote(shown_path(BIN / "pixelgpt"))
        own = shlex.join(picture_options(shown_path(checkpoint), "A sentence of your own", "mine.png"))
        corpus = "--input train.txt --destdir data --split train --train-tokenizer 8000"
        print(f"  {pixelgpt} show-predictions {own}")
        print(f"  {pixelgpt} render-corpus {corpus}")
        tell_what_is_missing()
        if not fell:
            sys.exit("error: a validation loss did not fall")


def picture_options(checkpoint, text, picture):
    """Options of ``pixelgpt show-predictions``."""
    return ["--checkpoint", str(checkpoint), "--text", text, "--output", str(picture)]


def shown_path(path):
    """*path* from the folder where the user is, if it lies in that."""
    path = os.path.abspath(path)
    return os.path.relpath(path) if path.startswith(f"{os.getcwd()}{os.sep}") else path


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
        --user-dir {shlex.quote(str(USER_DIR))}
        --task rendered_pretraining --modalities text,pixel,pair --modality-weights 1,1,1
        --tokens-per-sample 256 --arch pixelgpt_tiny --criterion patch_token_loss --patch-loss-weight 10
        --optimizer adam --adam-betas '(0.9, 0.95)' --weight-decay 0.1 --clip-norm 1.0 --batch-size 8 --cpu
        --lr-scheduler cosine --lr 2e-3 --lr-shrink 0 --warmup-updates 30 --max-update {max_update} --seed 1
        --validate-interval 1000000 --validate-interval-updates 50 --save-interval 1000000 --save-interval-updates 50
        --keep-interval-updates 1 --no-epoch-checkpoints
        --log-format json --log-interval 5
        """
    )


def write_text(folder):
    """Write the paragraphs of the topics as documents: every twentieth for validation. What is there stays."""
    folder.mkdir(exist_ok=True)
    documents = [" ".join(paragraph.split()) for topic in topics.values() for paragraph in topic.split("\n\n")]
    documents = [document for document in documents if document]
    for name, chosen in (
        ("train", [document for i, document in enumerate(documents) if i % 20]),
        ("valid", documents[::20]),
    ):
        path = folder / f"{name}.txt"
        if not path.exists():
            new = path.with_suffix(".new")
            new.write_text("\n\n".join(chosen) + "\n", encoding="utf-8")
            new.replace(path)


def validation(line):
    """The number of updates and the losses of a validation that fairseq-train logged; None for other lines."""
    found = re.search(r"\| valid \| (\{.*\})", line)
    if not found:
        return None
    values = json.loads(found[1])
    return int(values["valid_num_updates"]), {name: float(values[f"valid_{name}"]) for name in LOSSES}


def validations(log):
    """Every validation of pretraining in the log: updates -> losses; the last of several after as many updates."""
    if not log.exists():
        return {}
    with open(log, encoding="utf-8") as lines:
        return dict(sorted(filter(None, map(validation, lines))))


def write_losses(update, losses):
    """Write a row of the table of losses."""
    write_row([update, *(f"{losses[name]:.3f}" for name in LOSSES)])


def write_row(cells):
    """Write a row above the progress bar."""
    first, *others = cells
    tqdm.write(f"  {first:>6}" + "".join(f"{cell:>17}" for cell in others), file=sys.stdout)
    sys.stdout.flush()


def bar(total, counted):
    """A progress bar with the time that has passed."""
    return tqdm(total=total, bar_format=f"  {{bar:40}} {counted}, {{elapsed}}", mininterval=0.5)


def advance(shown, to):
    """Move a progress bar forward; never back, as when a command repeats what an interruption lost."""
    shown.update(max(0, to - shown.n))


def tell_what_is_missing():
    """Print the command that brings what shaped text needs, where it is not there."""
    from PIL import features

    if not features.check("raqm"):
        from pixelgpt_fairseq.rendering.bidi import INSTALL_FRIBIDI

        print("Missing: the FriBiDi library, without which --renderer-backend pillow cannot draw shaped text (Arabic")
        print(f"  joined, Hindi with its ligatures, emoji in color). Install it: {INSTALL_FRIBIDI}")
