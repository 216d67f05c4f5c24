"""Download GLUE's public files into the folders that pixelgpt render-glue reads (--glue-dir).

With MNLI comes the diagnostic set AX. MRPC is Microsoft's and in none of GLUE's archives: it is fetched from SentEval's
copy, and its training file is cut into train and dev by GLUE's list, as GLUE's own script does.
"""

import argparse

from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, task_name
from pixelgpt_fairseq.sources.glue_download import BASE_URL, download


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destdir", required=True, metavar="DIR", help="GLUE folder, made if absent")
    parser.add_argument(
        "--tasks", nargs="+", type=task_name, choices=GLUE_TASKS, default=list(GLUE_TASKS), metavar="TASK",
        help=f"only these of {', '.join(GLUE_TASKS)}"
    )  # fmt: skip
    parser.add_argument("--base-url", default=BASE_URL, metavar="URL", help=f"a mirror (default: {BASE_URL})")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    for task in args.tasks:
        files = download(task, args.destdir, args.base_url, args.overwrite)
        size = sum(path.stat().st_size for path in files)
        print(f"{files[0].parent}: {', '.join(path.name for path in files)}, {size:,} bytes")
