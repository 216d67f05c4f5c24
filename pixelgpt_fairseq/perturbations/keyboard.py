"""Which keys lie beside each other on a QWERTY keyboard."""

# The rows of letters, and how far each begins to the right of the first, in keys.
_ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))


def _neighbors() -> dict[str, str]:
    keys = {
        letter: (row, start + column)
        for row, (letters, start) in enumerate(_ROWS)
        for column, letter in enumerate(letters)
    }

    def touch(one, other):
        rows, columns = abs(one[0] - other[0]), abs(one[1] - other[1])
        return (rows == 0 and columns == 1) or (rows == 1 and columns < 1)

    return {letter: "".join(other for other in keys if touch(keys[letter], keys[other])) for letter in keys}


# Letter -> the letters whose keys touch its key, to the left and right, above and below.
NEIGHBORS = _neighbors()
