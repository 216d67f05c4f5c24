"""Names: what a data folder holds, how it stores it, and what a model reads of it."""

# The streams of a split, one pair of indexed files each.
PIXEL, PIECES, TEXT, COLUMNS, TARGET = STREAMS = ("pixel", "pieces", "text", "columns", "target")
PAIR = "pair"  # a strip and the tokens of the same text
# What a model can be trained on and asked about; wherever they are listed, in this order.
MODALITIES = (TEXT, PIXEL, PAIR)
# What is stored of a corpus: its patches, its text (rendered while training), or both.
STORES = ("patches", "text", "both")
