"""Parquet as a corpus: a column of texts, of which a few rows are held at a time."""

import contextlib
import shutil
import tempfile

from pixelgpt_fairseq.errors import UserError, missing_package
from pixelgpt_fairseq.sources import row_documents
from pixelgpt_fairseq.sources.bad_rows import BadRow
from pixelgpt_fairseq.sources.containers import open_contents
from pixelgpt_fairseq.sources.row_documents import CorpusRow, too_long
from pixelgpt_fairseq.sources.standard_input import STANDARD_INPUT, keep_standard_input

_READ_BYTES = 1 << 20  # of a column at a time, rather than a whole row group
_BATCH_BYTES = 1 << 20
_MOST_ROWS = 1024  # in a batch


def read_parquet_rows(path, fields, encoding_errors, begin):
    """Read the rows of a Parquet file: the columns of the text and the id alone.

    Args:
        path: a file on the disk. A compressed one and standard input (``"-"``) go through a temporary file.
        fields: Fields.
        encoding_errors: ``"fail"``, or ``"replace"`` bytes that are not UTF-8 by U+FFFD.
        begin: Position of the first row to read.

    Yields:
        CorpusRow

    Raises:
        UserError: if the file is damaged, a column is absent or of no use, or pyarrow is not installed.
    """
    with _opened(path, fields) as (file, columns, size):
        paths = [".".join(column) for column in columns]
        row, total = 0, max(1, file.metadata.num_rows)
        for group in range(file.num_row_groups):
            group_rows = file.metadata.row_group(group).num_rows
            if row + group_rows <= begin.offset:
                row += group_rows
                continue
            batch_rows = _batch_rows(file.metadata.row_group(group), columns)
            for batch in file.iter_batches(batch_rows, [group], columns=paths, use_threads=False):
                values = [_values(batch, column) for column in columns]
                for index in range(batch.num_rows):
                    row += 1
                    if row <= begin.offset:
                        continue
                    where = f"{path}, row {row}"
                    try:
                        found = tuple(_decoded(get(index), where, encoding_errors) for get in values)
                    except BadRow as error:
                        found = error
                    else:
                        found = found if fields.id else (*found, None)
                    yield CorpusRow(where, row, row - 1, row, size * row // total, found, row + 1)


def check_parquet(path, fields):
    """Check that a Parquet file can be read and has the columns asked for.

    Raises:
        UserError
    """
    with _opened(path, fields):
        pass


@contextlib.contextmanager
def _opened(path, fields):
    """Yields (pyarrow's ParquetFile, the path of each column as a tuple, size of the file in bytes)."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing_package(f"{path}: reading Parquet", "pyarrow", "parquet") from None
    names = [name for name in fields if name]
    try:
        with _source(path) as (source, size):
            schema = parquet.read_schema(source)
            columns = [_column(path, schema, name, option) for name, option in zip(names, _OPTIONS, strict=False)]
            # A value that many rows share is held once; pyarrow can do so for columns that are not nested.
            shared = [column[0] for column in columns if len(column) == 1 and _is_text(schema.field(column[0]).type)]
            with parquet.ParquetFile(
                source,
                pre_buffer=False,
                buffer_size=_READ_BYTES,
                read_dictionary=shared,
                page_checksum_verification=True,
            ) as file:
                yield file, columns, size
    except pyarrow.ArrowMemoryError:
        raise UserError(f"{path}: a page of its columns takes more memory than there is") from None
    except (pyarrow.ArrowException, OSError) as error:
        if getattr(error, "errno", None):
            raise UserError(f"{path}: {error.strerror}") from None
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: damaged, or not Parquet as pyarrow reads it: {told}") from None


_OPTIONS = ("--text-field", "--id-field")


@contextlib.contextmanager
def _source(path):
    """Yields (path or open file from any byte of which can be read, its size on the disk)."""
    if path == STANDARD_INPUT:
        keep_standard_input()
    with open_contents(path) as (file, raw_file):
        size = raw_file.seek(0, 2)
        raw_file.seek(0)
        if file is raw_file:
            yield (file if path == STANDARD_INPUT else str(path)), size
            return
        with tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(file, unpacked)
            unpacked.seek(0)
            yield unpacked, size


def _column(path, schema, name, option):
    """The column of that name as a tuple of nested names; a name may itself hold dots."""
    found = _find(schema, name)
    if found is None:
        listed = ", ".join(map(repr, schema.names[:10])) + (", ..." if len(schema.names) > 10 else "")
        raise UserError(f"{path}: no column {name!r}: it has {listed}: name one with {option}")
    field = schema.field(found[0])
    for part in found[1:]:
        field = field.type.field(part)
    if not (_is_text(field.type) or (option == "--id-field" and _is_integer(field.type))):
        raise UserError(f"{path}: column {name!r} holds {field.type}, not texts: name another with {option}")
    return found


def _find(container, name):
    import pyarrow.types as types

    names = container.names if hasattr(container, "names") else [field.name for field in container]
    if name in names:
        return (name,)
    for index, character in enumerate(name):
        head = name[:index]
        if character == "." and head in names and types.is_struct(container.field(head).type):
            rest = _find(container.field(head).type, name[index + 1 :])
            if rest is not None:
                return (head, *rest)
    return None


def _is_text(kind):
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        check(kind)
        for check in (
            *(types.is_string, types.is_large_string, types.is_string_view),
            *(types.is_binary, types.is_large_binary, types.is_binary_view),
        )
    )


def _is_integer(kind):
    import pyarrow.types as types

    return types.is_integer(kind)


def _batch_rows(group, columns):
    """Rows to read at a time, so that they take about ``_BATCH_BYTES``."""
    wanted, size, repeated = {".".join(column): len(column) > 1 for column in columns}, 0, False
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema in wanted:
            size += chunk.total_uncompressed_size
            # One value of such a column may stand in every row, and each row would hold a copy of it.
            repeated |= wanted[chunk.path_in_schema] and any("DICTIONARY" in name for name in chunk.encodings)
    return 1 if repeated else max(1, min(_MOST_ROWS, _BATCH_BYTES * group.num_rows // max(1, size)))


def _values(batch, column):
    """A function from the index of a row to its value: bytes, int or None."""
    import pyarrow
    import pyarrow.compute

    array = batch.column(batch.schema.get_field_index(column[0]))
    for name in column[1:]:
        array = pyarrow.compute.struct_field(array, name)
    if isinstance(array, pyarrow.DictionaryArray):
        indices, words = array.indices, _as_bytes(array.dictionary)
        return lambda row: words[indices[row].as_py()] if indices[row].is_valid else None
    array = _as_bytes(array)
    return lambda row: array[row]


def _as_bytes(array):
    """The array without a claim that its bytes are UTF-8, which nobody has checked."""
    import pyarrow
    import pyarrow.types as types

    plain = {
        types.is_string: pyarrow.binary(),
        types.is_large_string: pyarrow.large_binary(),
        types.is_string_view: pyarrow.binary_view(),
    }
    for is_kind, kind in plain.items():
        if is_kind(array.type):
            return array.cast(kind)
    return array


def _decoded(value, where, encoding_errors):
    """What Python makes of a value: a text, a number or None."""
    if value is None or not value.is_valid:
        return None
    if hasattr(value, "as_buffer"):
        buffer = value.as_buffer()
        if buffer.size > row_documents.MAX_ROW_BYTES:
            raise too_long(where)
        raw = buffer.to_pybytes()
        try:
            return raw.decode("utf-8", "strict" if encoding_errors == "fail" else "replace")
        except UnicodeDecodeError as error:
            raise BadRow(f"{where}: byte 0x{raw[error.start]:02x} is not UTF-8") from None
    return value.as_py()
