from collections.abc import Iterable

import httpx
import pytest

from service.errors import BadRequest, TooManyImages
from service.intake import Intake
from tests.service.reading import CAT, DOG, images, outcome, refused, slowly


def test_multipart_files() -> None:
    one = outcome(files=[("image", ("cat.jpg", CAT, "text/html"))])
    assert one == Intake([CAT], many=False)
    two = outcome(files=[("image", ("../etc", DOG)), ("image", ("x", CAT))])
    assert two == Intake([DOG, CAT], many=True)
    assert outcome(files=[("image", ("empty", b""))]) == Intake([b""], many=False)


def test_multipart_in_single_bytes() -> None:
    request = httpx.Request("POST", "http://mixer/", files=[("image", CAT), ("image", DOG)])
    single = slowly(bytes([byte]) for byte in request.read())
    headers = {"Content-Type": request.headers["Content-Type"]}
    assert outcome(content=single, headers=headers) == Intake([CAT, DOG], many=True)


def test_multipart_image_limit_holds_before_the_rest_is_read() -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\ncat\r\n'
    sent = []

    def endless() -> Iterable[bytes]:
        for _ in range(100):
            sent.append(1)
            yield part

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    error = outcome(content=slowly(endless()), headers=headers)
    assert isinstance(error, TooManyImages)
    assert "3 images" in error.detail
    assert len(sent) == 4
    assert len(images(outcome(files=[("image", CAT)] * 3))) == 3


def test_multipart_fields_that_are_no_image_file() -> None:
    refused(BadRequest, "'model'", files={"image": CAT, "model": (None, "mixer")})
    refused(BadRequest, "'file'", files={"file": CAT})
    refused(BadRequest, "text", files={"image": (None, "Y2F0")})


HEAD = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", HEAD + b"\r\ncat\r\n--x--\r\n"),
        ("multipart/form-data; boundary=", HEAD + b"\r\ncat\r\n--x--\r\n"),
        ("multipart/mixed; boundary=x", HEAD + b"\r\ncat\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 1000, b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary"),
        ("multipart/form-data; boundary=x", HEAD + b"\r\ncat"),
        ("multipart/form-data; boundary=x", HEAD + b"\r\ncat\r\n--x\r\n"),
        ("multipart/form-data; boundary=x", HEAD + b"bad header\r\n\r\ncat\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", HEAD + b"a: b\r\n" * 1000 + b"\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\ncat\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", HEAD + b"\r\ncat\r\n--x\r\n\r\ndog\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: \xff\r\n\r\n\r\n--x--"),
    ],
)
def test_malformed_multipart(content_type: str, body: bytes) -> None:
    refused(BadRequest, "", content=body, headers={"Content-Type": content_type})


def test_multipart_epilogue_is_ignored() -> None:
    body = HEAD + b"\r\ncat\r\n--x--\r\nepilogue"
    headers = {"Content-Type": 'Multipart/Form-Data; Boundary="x"'.lower()}
    assert images(outcome(content=body, headers=headers)) == [b"cat"]


def test_what_resembles_a_boundary_is_bounded() -> None:
    body = HEAD + b"\r\n" + b"\r\n--xy" * 5
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(TooManyImages, "3 images", content=body, headers=headers)
