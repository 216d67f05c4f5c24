"""Read data folders through and compare every file with its checksum."""

import argparse

from pixelgpt_fairseq.errors import UserError, command


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", metavar="DIR", help="data folder")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    from pixelgpt_fairseq.data.data_folder import DataFolder

    for folder in map(DataFolder, args.data):
        splits = folder.splits()
        if not splits:
            raise UserError(f"{folder.path}: no split that is whole")
        for split in splits:
            folder.check_contents(split)
            files = folder.manifest(split)["files"]
            size = sum(files.values())
            print(f"{folder.path}, {split}: {len(files):,} files of {size:,} bytes are as they were written")
