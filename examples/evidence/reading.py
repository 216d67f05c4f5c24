#!/usr/bin/env python3
"""Let a pretrained model read the pictures of held-out lines, and count its errors by the lines' numbers of words."""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.storage.files import write_whole

BATCH = 50  # lines
MOST_TOKENS = 80  # of a line of ten words, were it spelled letter by letter


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="CKPT", help="trained on pairs")
    parser.add_argument("--lines", type=Path, required=True, metavar="FILE", help="text, one line each")
    parser.add_argument("--of-a-length", type=int, default=100, metavar="N", help="most lines of a number of words")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON, by number of words")
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    return parser


@command
def main(argv=None):
    """Write for each number of words: lines, edits, characters, lines that are read exactly, and some examples."""
    args = get_parser().parse_args(argv)
    import torch

    import pixelgpt_fairseq
    from pixelgpt_fairseq.evaluation.transcription import transcribe

    lines = defaultdict(list)
    for number, line in enumerate(args.lines.read_text(encoding="utf-8").splitlines(), 1):
        if len(lines[len(line.split())]) < args.of_a_length:
            lines[len(line.split())].append((number, line))
    if not lines:
        raise UserError(f"--lines {args.lines}: no lines in it")
    loaded = pixelgpt_fairseq.load(args.checkpoint, "cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    results = {}
    for words, chosen in tqdm(sorted(lines.items())):
        found = transcribe(loaded, chosen, MOST_TOKENS, batch_size=BATCH, path=args.lines)
        results[words] = {
            "lines": len(found),
            "edits": sum(line.edits for line in found),
            "characters": sum(len(line.text) for line in found),
            "exact": sum(not line.edits for line in found),
            "examples": [(line.text, line.read) for line in found[:3]],
        }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.output, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
