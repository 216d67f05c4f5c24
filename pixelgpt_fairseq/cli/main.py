"""The installed command ``pixelgpt``: each subcommand is a module of this folder that has a function ``main``."""

import importlib
import sys

COMMANDS = {
    "demo": "real text to patches, a small model, its losses and a picture, in minutes",
    "render-corpus": "a text corpus to a data folder, for pretraining",
    "render-glue": "GLUE, or a table of sentences with labels, to a data folder",
    "render-xnli": "XNLI to a data folder",
    "render-translation": "sources and targets, such as sentences and their translations, to a data folder",
    "check-data": "whether the files of data folders are as they were written",
    "download-glue": "GLUE's public files",
    "recipes": "where the Hydra recipes are",
    "finetune": "fine-tune a checkpoint by its published recipe",
    "predict-glue": "the files that GLUE takes",
    "evaluate-xnli": "XNLI's table of accuracies",
    "evaluate-robustness": "what fine-tuned checkpoints lose under attacks on the text",
    "summarize-results": "a table of what fine-tuning runs reached",
    "show-render": "what a model sees of a text",
    "show-attack": "what attacks make of a text",
    "show-predictions": "what a model predicts of a text",
    "evaluate-reading": "how well a model reads lines of text from their pictures, by the number of words",
    "evaluate-cloze": "how often a model finds the last word of a passage, or a short answer",
    "generate": "continue a text by patches, read what they say, or by tokens",
    "convert-checkpoint": "the authors' folders to checkpoints, and back; another tokenizer for a checkpoint",
}


def usage():
    """What ``pixelgpt --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        ["usage: pixelgpt COMMAND ...", "", *lines, "", "pixelgpt COMMAND --help says what a command takes."]
    )


def main():
    """Run the subcommand that the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in COMMANDS:
        sys.exit(f"error: pixelgpt {name}: no such command: there are {', '.join(COMMANDS)}")
    sys.argv = [f"pixelgpt {name}", *sys.argv[2:]]
    importlib.import_module(f"pixelgpt_fairseq.cli.{name.replace('-', '_')}").main()


if __name__ == "__main__":
    main()
