"""Files of every compression that is read."""

import bz2
import gzip
import lzma

from backports import zstd

SUFFIXES = (".gz", ".zst", ".xz", ".bz2")


def compressed(path, content):
    """Write *content* as its suffix says; zstd with a checksum, as the zstd command does and the others always."""
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})
    elif path.suffix == ".xz":
        content = lzma.compress(content)
    elif path.suffix == ".bz2":
        content = bz2.compress(content)
    path.write_bytes(content)
    return path
