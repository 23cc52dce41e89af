import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.errors import InvalidRequestError
from warehouse.symbols import decode_symbol, encode_symbol

PRINTABLE = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" ./|%=…"), min_size=1, max_size=20
).filter(lambda s: s == s.strip() and s.isprintable())


@given(PRINTABLE)
@settings(max_examples=300)
def test_every_symbol_comes_back_and_is_safe_for_files_and_partitions(symbol: str) -> None:
    encoded = encode_symbol(symbol)
    assert decode_symbol(encoded) == symbol
    assert not set(encoded) & set("/\\|:*?\"<>, \t\n\0'")
    assert ".." not in encoded
    assert not encoded.startswith(".")
    assert not encoded.endswith(".")
    assert len(f"{encoded}.parquet".encode()) < 255


@given(PRINTABLE, PRINTABLE)
@settings(max_examples=200)
def test_different_symbols_stay_different_on_a_case_insensitive_disk(one: str, other: str) -> None:
    if one != other:
        assert encode_symbol(one).lower() != encode_symbol(other).lower()


@pytest.mark.parametrize(
    ("symbol", "encoded"),
    [
        ("AAPL", "AAPL"),
        ("BRK B", "BRK%20B"),
        ("BF/B", "BF%2FB"),
        ("EUR.USD", "EUR.USD"),
        ("A|B", "A%7CB"),
        ("...", "%2E%2E%2E"),
        ("ES=F", "ES%3DF"),
        ("aapl", "%61%61%70%6C"),
        ("../X", "%2E%2E%2FX"),
    ],
)
def test_known_symbols_have_a_fixed_name(symbol: str, encoded: str) -> None:
    assert encode_symbol(symbol) == encoded


@pytest.mark.parametrize("symbol", ["", " A", "A ", "A\nB", "A\0", "Q" * 65, "\N{SNOWMAN}" * 30])
def test_symbols_that_no_file_can_carry_are_refused(symbol: str) -> None:
    with pytest.raises(InvalidRequestError, match="symbol: "):
        encode_symbol(symbol)


@pytest.mark.parametrize("name", ["", "aapl", "%2e", "A%2", "A%FF", "..", "A B", "%41"])
def test_names_that_encode_nothing_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not an encoded symbol"):
        decode_symbol(name)
