"""Bytes to fields and back, greetings, damaged frames."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.simulator.errors import ProtocolError
from broker.simulator.framing import fields_of, negotiate, pack, read_greeting, read_payload

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.lists(TEXT, min_size=1, max_size=20))
def test_fields_survive_the_wire(fields):
    assert fields_of(pack(fields)[4:]) == fields


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (None, ""),
        (True, "1"),
        (False, "0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        (Decimal("10.500"), "10.5"),
        (Decimal(100), "100"),
        (Decimal("1E+2"), "100"),
        ("a\0b", "a b"),
    ],
)
def test_a_field_is_written_as_ib_writes_it(field, text):
    assert fields_of(pack([field])[4:]) == [text]


@pytest.mark.parametrize(
    ("greeting", "version"),
    [("v157..176", 176), ("v100..157", 157), ("v100..226 +PACEAPI", 176), ("v157..178", 176), ("v176", 176)],
)
def test_the_highest_common_version_is_spoken(greeting, version):
    assert negotiate(greeting) == version


@pytest.mark.parametrize("greeting", ["v100..156", "v177..200", "", "hello", "v1..x", "v" + "9" * 5000])
def test_a_client_without_a_common_version_is_refused(greeting):
    with pytest.raises(ProtocolError):
        negotiate(greeting)


@pytest.mark.parametrize("content", [b"\xff\xff\xff\xff", b"\x00\x20\x00\x00"])
def test_an_absurd_length_is_no_request(content):
    async def read():
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        return await asyncio.wait_for(read_payload(reader), 1)

    with pytest.raises(ProtocolError, match="is no TWS request"):
        asyncio.run(read())


def test_what_speaks_http_is_not_greeted():
    async def read():
        reader = asyncio.StreamReader()
        reader.feed_data(b"GET / HTTP/1.1\r\n\r\n")
        return await asyncio.wait_for(read_greeting(reader), 1)

    with pytest.raises(ProtocolError, match="GET "):
        asyncio.run(read())


def test_a_payload_without_its_last_nul_is_damaged():
    with pytest.raises(ProtocolError, match="does not end with a NUL"):
        fields_of(b"71\x002")
