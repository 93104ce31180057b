"""S3's XML: the quick way and the thorough one read the same, and neither trusts a shape."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from unittest.mock import patch
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import IntegrityError
from asyncstore.wire import s3

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
XML_KEYS = KEYS.filter(s3.can_be_named)
ROWS = st.lists(st.tuples(KEYS, st.integers(0, 5 << 40), st.sampled_from(("'", "a-2", ""))))


def listing(rows, *, encoded=True, pretty=False, quot="&quot;", extra=""):
    from urllib.parse import quote_plus

    gap = "\n  " if pretty else ""
    blocks = []
    for key, size, etag in rows:
        name = quote_plus(key) if encoded else escape(key)
        told = f"<ETag>{quot}{etag}{quot}</ETag>" if etag else ""
        blocks.append(
            f"<Contents>{gap}<Key>{name}</Key>{gap}<LastModified>2026-01-02T03:04:05.000Z"
            f"</LastModified>{gap}{told}<Size>{size}</Size>{gap}{extra}</Contents>{gap}"
        )
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{s3.XMLNS}">{gap}'
    return (
        f"{head}{kind}<IsTruncated>false</IsTruncated>{gap}{''.join(blocks)}</ListBucketResult>"
    ).encode()


def listed(body, **options):
    found = s3.listing(body, **options)
    assert isinstance(found, s3.Listing)
    return found


def slowly(body, **options):
    with patch.object(s3, "_read_fast", lambda _: None):
        return listed(body, **options)


def plainly(found):
    return [(m.key, m.size, m.etag, m.modified) for m in found.objects], found.prefixes


@given(
    ROWS,
    st.booleans(),
    st.sampled_from(("&quot;", "&#34;", '"', "")),
    st.sampled_from(("<Owner><ID>x</ID></Owner><A/>", "<StorageClass>STANDARD</StorageClass>", "")),
)
def test_the_quick_way_reads_what_the_parser_reads(rows, pretty, quot, extra):
    body = listing(rows, pretty=pretty, quot=quot, extra=extra)
    found = listed(body)
    assert plainly(found) == plainly(slowly(body))
    assert [(m.key, m.size) for m in found.objects] == [(key, size) for key, size, _ in rows]


@given(
    st.lists(st.tuples(XML_KEYS.filter(lambda k: "\r" not in k), st.integers(0, 9), st.just("e")))
)
def test_names_that_are_not_encoded_are_read_as_they_are(rows):
    found = listed(listing(rows, encoded=False))
    assert [m.key for m in found.objects] == [key for key, _, _ in rows]


@given(st.binary(max_size=300))
def test_junk_is_never_a_listing(junk):
    with pytest.raises(IntegrityError):
        s3.listing(junk)
    assert s3.fault(junk) == s3.Fault()


@given(st.data())
def test_a_cut_listing_is_never_one(data):
    whole = listing([("a", 1, "e"), ("b", 2, "e")])
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(IntegrityError):
        s3.listing(cut)


@pytest.mark.parametrize(
    "odd",
    [
        "<!-- x --><Contents><Key>b</Key><Size>1</Size></Contents>",
        "<Contents><Key><![CDATA[b]]></Key><Size>1</Size></Contents>",
        "<Contents ><Key>b</Key><Size>1</Size></Contents>",
        (
            "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>"
            "<Contents><Key>b</Key><Size>1</Size></Contents>"
        ),
        "<Contents><Size>1</Size><Key>b</Key></Contents>",
        (
            "<x:Contents xmlns:x='http://s3.amazonaws.com/doc/2006-03-01/'>"
            "<x:Key>b</x:Key><x:Size>1</x:Size></x:Contents>"
        ),
    ],
)
def test_every_way_to_write_a_listing_is_read(odd):
    row = "<Contents><Key>a</Key><Size>1</Size></Contents>"
    body = (
        f"<ListBucketResult><IsTruncated>false</IsTruncated>{row}{odd}{row}</ListBucketResult>"
    ).encode()
    found = listed(body)
    assert [m.key for m in found.objects] == ["a", "b", "a"]
    assert plainly(found) == plainly(slowly(body))


def test_blocks_that_tell_of_checksums_and_classes_now_and_then_are_read_quickly():
    sums = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    rows = "".join(
        f"<Contents><Key>k{n}</Key><LastModified>t{n}</LastModified><ETag>&quot;e{n}&quot;</ETag>"
        f"{sums * (n % 2)}<Size>{n}</Size>"
        f"{'<StorageClass>GLACIER</StorageClass>' * (n % 3 == 0)}</Contents>"
        for n in range(12)
    )
    text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
    quick = s3._read_usual(text, text.index("<Contents>"), text.rindex("</Contents>") + 11)
    assert quick is not None
    assert list(quick) == list(slowly(text.encode()).objects)
    assert [m.size for m in quick] == list(range(12))


@pytest.mark.parametrize("gap", ["x", "<A/>", "<Contents></Contents>"])
def test_what_stands_between_two_blocks_is_never_passed_over(gap):
    block = "<Contents><Key>k</Key><LastModified>t</LastModified><ETag>&quot;e&quot;</ETag>"
    block += "<Size>1</Size></Contents>"
    text = f"{block}{gap}{block}"
    assert s3._read_usual(text, 0, len(text)) is None


@pytest.mark.parametrize("names", [["a\nb", "c"], ["a", "b\n"], ["%2F\n%2F"], ["a%0Ab", "c+d"]])
def test_names_are_decoded_each_for_itself(names):
    blocks = "".join(
        f"<Contents><Key>{name}</Key><LastModified>t</LastModified><ETag>&quot;e&quot;</ETag>"
        "<Size>1</Size></Contents>"
        for name in names
    )
    body = (
        "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
        f"{blocks}</ListBucketResult>"
    ).encode()
    assert plainly(listed(body)) == plainly(slowly(body))


@given(st.lists(st.sampled_from(["x", "x/", "x/a", "x/\U0001f600", "x0", "w", "y"]), max_size=4))
def test_a_listing_holds_no_name_outside_of_what_was_asked_for(keys):
    body = listing([(key, 1, "e") for key in keys])
    if all(key.startswith("x/") for key in keys):
        assert [meta.key for meta in listed(body, prefix="x/").objects] == keys
    else:
        with pytest.raises(IntegrityError, match="that holds"):
            s3.listing(body, prefix="x/")


@pytest.mark.parametrize(
    "row",
    [
        "<Contents><Size>1</Size></Contents>",
        "<Contents><Key></Key><Size>1</Size></Contents>",
        "<Contents><Key>a</Key></Contents>",
        "<Contents><Key>a</Key><Size>-1</Size></Contents>",
        "<Contents><Key>a</Key><Size>1e3</Size></Contents>",
        "<Contents><Key>%ff</Key><Size>1</Size></Contents><EncodingType>url</EncodingType>",
    ],
)
def test_an_entry_without_a_name_or_a_size_is_refused(row):
    body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{row}</ListBucketResult>".encode()
    with pytest.raises(IntegrityError):
        s3.listing(body)


def test_a_key_outside_of_what_was_asked_for_is_refused():
    with pytest.raises(IntegrityError, match="a listing of 'x/'"):
        s3.listing(listing([("y/a", 1, "e")]), prefix="x/")


USUAL = "<Contents><Key>a</Key><LastModified>t</LastModified><ETag>"


@pytest.mark.parametrize(
    "rows", ["<Contents>" + "<Key>a</Key>" * 20_000, f"{USUAL}&quot;" * 50_000 + "e" * 2_000_000]
)
def test_a_hostile_block_costs_no_more_than_its_length(rows):
    body = f"<ListBucketResult>{rows}</Contents>".encode()
    with pytest.raises(IntegrityError):
        s3.listing(body)


@pytest.mark.parametrize("quot", ["&quot;", "&#34;", '"'])
@pytest.mark.parametrize("etag", ["", "e<b>x</b>", "e&amp;f", "e" * 101])
def test_an_odd_etag_is_read_as_the_parser_reads_it(quot, etag):
    row = f"{USUAL}{quot}{etag}{quot}</ETag><Size>1</Size></Contents>"
    plain = f"{USUAL}{quot}f{quot}</ETag><Size>2</Size></Contents>"
    body = (
        f"<ListBucketResult><IsTruncated>false</IsTruncated>{plain}{row}</ListBucketResult>"
    ).encode()
    assert plainly(listed(body)) == plainly(slowly(body))


def test_a_huge_reply_is_refused_unread():
    with pytest.raises(IntegrityError, match="more than"):
        s3.listing(b" " * (s3.BODY_MAX + 1))
    assert s3.fault(b"<Error>" + b" " * s3.FAULT_MAX + b"</Error>") == s3.Fault()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_a_document_type_is_refused_in_any_coding(encoding):
    text = '<!DOCTYPE a [<!ENTITY b "x">]><ListBucketResult>&b;</ListBucketResult>'
    with pytest.raises(IntegrityError):
        s3.fields(text.encode(encoding), "ListBucketResult")


@given(st.lists(XML_KEYS, min_size=1))
def test_a_delete_names_every_key(keys):
    tree = ET.fromstring(s3.delete_request(keys))  # noqa: S314 - our own
    assert [entry.text for entry in tree.iter(f"{{{s3.XMLNS}}}Key")] == keys


def test_a_delete_names_a_carriage_return_and_what_xml_cannot_name_is_told():
    assert b"&#13;" in s3.delete_request(["a\rb"])
    assert s3.can_be_named("a\rb\t\n é\U0001f40d")
    for key in ("\x01", "a\x1f", "\ufffe", "\x00", "\ud800"):
        assert not s3.can_be_named(key)


def test_an_error_says_its_fields():
    body = (
        b"<Error><Code>NoSuchBucket</Code><Message>gone</Message><Region>eu-west-1</Region>"
        b"<RequestId>R</RequestId><BucketName>b</BucketName></Error>"
    )
    assert s3.fault(body) == ("NoSuchBucket", "gone", "eu-west-1", "R", "b")
    assert s3.fields(body, "CopyObjectResult") == s3.fault(body)


def test_parts_are_joined_by_number_etag_and_checksum():
    body = s3.complete_request([s3.Part(1, '"e"', ("ChecksumCRC64NVME", "AAA=")), s3.Part(2, "f")])
    assert b"<ETag>&quot;e&quot;</ETag><ChecksumCRC64NVME>AAA=</ChecksumCRC64NVME>" in body
    assert body.index(b"<PartNumber>1<") < body.index(b"<PartNumber>2<")
