"""Files that are decoded while they are read, from beginning to end."""

import io

READ_BYTES = 1 << 16


class Decoded(io.RawIOBase):
    """A file read from beginning to end and decoded on the way; going back begins again.

    Args:
        file: an open binary file.
    """

    def __init__(self, file):
        self._file = file
        self._restart()

    def _restart(self):
        self._file.seek(0)
        self._position, self._held = 0, b""

    def _decode_more(self):
        """The next decoded bytes: empty at the end alone."""
        raise NotImplementedError

    def readable(self):
        """Yes."""
        return True

    def seekable(self):
        """Yes: forward by reading, back by beginning again."""
        return True

    def tell(self):
        """The offset of the next decoded byte."""
        return self._position

    def readinto(self, buffer):
        """Fill *buffer*, or some of it, with decoded bytes; returns how many."""
        if not self._held:
            self._held = self._decode_more()
        read = self._held[: len(buffer)]
        buffer[: len(read)] = read
        self._held = self._held[len(read) :]
        self._position += len(read)
        return len(read)

    def seek(self, offset, whence=io.SEEK_SET):
        """Go to an offset in the decoded bytes, or to their end if they are fewer; returns where that is."""
        target = offset + (self._position if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the length of decoded text is not known")
        if target < self._position:
            self._restart()
        while self._position < target and self.read(min(READ_BYTES, target - self._position)):
            pass
        return self._position
