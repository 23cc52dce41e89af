"""Symbols as file names and partition keys.

Belongs here: the reversible encoding of a symbol. Does not belong here: contract resolution (see `broker`).

A symbol may hold anything a vendor prints: `BRK B`, `BF/B`, `EUR.USD`, `A|B`. Dagster joins keys with `|`
and ranges with `...`, Hive-style folders own `=`, file systems own `/` and treat `.` and case specially,
so everything outside `A-Z 0-9 - . @` is percent-encoded, as is a leading dot, two dots in a row, and every
lower-case letter (two symbols that differ in case only stay two files on a case-insensitive disk).
"""

import re
from urllib.parse import unquote

from warehouse.errors import InvalidRequestError

_LONGEST = 200  # file systems allow 255 bytes; endings and temporary names need some
_SAFE = re.compile(r"[A-Z0-9\-.@]")


def encode_symbol(symbol: str) -> str:
    """File- and partition-safe form of a symbol; `decode_symbol` gives the symbol back.

    Raises:
        InvalidRequestError: the symbol is empty, padded with blanks, longer than 64 characters, or holds what
            cannot be printed.

    >>> encode_symbol("BRK B"), encode_symbol("EUR.USD"), encode_symbol("BF/B")
    ('BRK%20B', 'EUR.USD', 'BF%2FB')
    """
    if not symbol or symbol != symbol.strip() or len(symbol) > 64 or not symbol.isprintable():
        raise InvalidRequestError(f"symbol: {symbol!r} must be 1 to 64 printable characters without outer blanks.")
    encoded = []
    for i, char in enumerate(symbol):
        dot_needs_escape = char == "." and (i == 0 or symbol[i - 1] == "." or i == len(symbol) - 1)
        if _SAFE.match(char) and not dot_needs_escape:
            encoded.append(char)
        else:
            encoded.append("".join(f"%{byte:02X}" for byte in char.encode()))
    name = "".join(encoded)
    if len(name) > _LONGEST:
        raise InvalidRequestError(f"symbol: {symbol!r} is too long for a file name.")
    return name


def decode_symbol(encoded: str) -> str:
    """The symbol behind an encoded form.

    Raises:
        InvalidRequestError: no symbol has this encoded form.

    >>> decode_symbol("BRK%20B")
    'BRK B'
    """
    try:
        symbol = unquote(encoded, errors="strict")
        valid = encode_symbol(symbol) == encoded
    except (UnicodeDecodeError, InvalidRequestError):
        valid = False
    if not valid:
        raise InvalidRequestError(f"symbol: {encoded!r} is not an encoded symbol.")
    return symbol
