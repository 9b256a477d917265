"""Untrusted bytes → an upright RGB picture.

bytes → recognise → inspect (structure, size) → size limit → Pillow (pixels alone) → RGB → upright

The bytes decide the format, never a declared type or a file name. Pillow is handed the file without
its metadata (see `service.containers`), by the plugin of the recognised format itself: `Image.open`
would apply a second, global pixel limit and warn about it. Nothing here is shared between calls.
"""

from collections.abc import Callable
from io import BytesIO

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from model_store.preprocess import Box
from service.containers import Container, Format, inspect
from service.errors import (
    ImageTooLarge,
    ImageTruncated,
    ImageUndecodable,
    ServiceError,
    UnsupportedImage,
)
from service.orientation import Picture, orientation, upright

ACCEPTED = "JPEG, PNG, WebP, GIF and BMP"

_PLUGINS: dict[Format, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
}

# (offset, magic bytes, name) of what people send by mistake: it makes the refusal helpful.
_REFUSED = (
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (0, b"II+\0", "a BigTIFF image"),
    (0, b"MM\0+", "a BigTIFF image"),
    (0, b"\0\0\1\0", "an ICO icon"),
    (0, b"\0\0\2\0", "a CUR cursor"),
    (0, b"icns", "an ICNS icon"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftyphev", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftyp", "an MP4 or QuickTime film"),
    (0, b"\x8aMNG", "an MNG animation"),
    (0, b"qoif", "a QOI image"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"BLP", "a BLP texture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"\x01\xda", "an SGI image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS document"),
    (0, b"RIFF", "a RIFF file without a WebP image"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"PK\5\6", "a ZIP archive"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"BZh", "bzip2 data"),
    (0, b"\xfd7zXZ", "xz data"),
    (0, b"\x93NUMPY", "a NumPy array"),
)
_REFUSED_TEXTS = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"{", "a JSON document"),
)


def decode(data: bytes, *, max_pixels: int) -> Image.Image:
    """Decode the (first) picture of an image file: mode RGB, 8 bits, upright, fully loaded.

    `max_pixels` is compared with width * height in the header, before any pixel is decoded.
    Transparent pixels lie over white; a colour profile is not applied. Raises UnsupportedImage,
    ImageTooLarge, ImageTruncated or ImageUndecodable, whatever the bytes are.
    """
    return decode_reduced(data, max_pixels=max_pixels, reduction=whole).image


def whole(_size: tuple[int, int]) -> int:
    """Reduce no picture, whatever its size."""
    return 1


def decode_reduced(
    data: bytes, *, max_pixels: int, reduction: Callable[[tuple[int, int]], int]
) -> Picture:
    """Decode as `decode` does, a JPEG with its sides divided by `reduction((width, height))`.

    That is 1, 2, 4 or 8, and no more than the shorter side has pixels. The inverse transform itself
    gives fewer pixels, each the average of many; the bits of all are read still.
    """
    format_ = _recognise(data)
    if format_ is None:
        raise UnsupportedImage(f"{_what_else(data)}; accepted are {ACCEPTED}.")
    container = inspect(data, format_)
    _check_size((container.width, container.height), max_pixels)
    picture = _picture(format_, container, max_pixels, reduction)
    return upright(picture, orientation(container.exif))


def _recognise(data: bytes) -> Format | None:
    """Return the accepted format whose magic bytes `data` begins with, None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    # Two letters are a weak sign: a bitmap's header length, below 256, makes it a strong one.
    if data.startswith(b"BM") and b"\0\0\0".startswith(data[15:18]):
        return "BMP"
    return None


def _what_else(data: bytes) -> str:
    if not data:
        return "There is no image: the data are empty"
    for offset, magic, name in _REFUSED:
        if data.startswith(magic, offset):
            return f"The data are {name}"
    text = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<svg" in text:
        return "The data are an SVG drawing"
    for magic, name in _REFUSED_TEXTS:
        if text.startswith(magic):
            return f"The data are {name}"
    return "The data are no image of a known format"


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {max_pixels} in all are allowed."
        )


def _picture(
    format_: Format,
    container: Container,
    max_pixels: int,
    reduction: Callable[[tuple[int, int]], int],
) -> Picture:
    """Let Pillow decode the pixels; whatever it raises means that the file is damaged."""
    try:
        image = _PLUGINS[format_](BytesIO(container.pixels))
        _check_size(image.size, max_pixels)  # what it will allocate: its reading of the header
        box = _reduce(image, reduction(image.size) if container.reducible else 1)
        image.load()
        return Picture(_rgb(image, container), box)
    except ServiceError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"The {format_} has too many pixels.") from error
    except Exception as error:
        # The one place where Pillow tells the two cases apart is its message.
        if "truncated" in str(error).lower():
            raise ImageTruncated(f"The {format_} data end before the pixels do.") from error
        raise ImageUndecodable(f"The {format_} data are damaged.") from error


def _reduce(image: ImageFile.ImageFile, factor: int) -> Box:
    """Have the sides divided by `factor`; return where the picture will lie in the image."""
    width, height = image.size
    if factor > 1:
        image.draft(None, (width // factor, height // factor))
    return (0.0, 0.0, width / factor, height / factor)


def _rgb(image: Image.Image, container: Container) -> Image.Image:
    """Convert any mode that the five formats have to RGB, alpha over white."""
    if image.mode == "I;16":
        image = _grey_8bit(image)
    elif "transparency" in image.info:
        _scale_transparent_colour(image, container)
        image = image.convert("RGBA")
    if image.mode in {"LA", "RGBA"}:
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_8bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits, with an alpha channel where one value is transparent."""
    grey = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    transparent = image.info.get("transparency")
    if transparent is None:
        return grey
    table = [0 if value == transparent else 255 for value in range(2**16)]
    return Image.merge("RGBA", (grey, grey, grey, image.convert("I").point(table, "L")))


def _scale_transparent_colour(image: Image.Image, container: Container) -> None:
    # A PNG states its transparent colour in the file's bit depth; Pillow leaves it so, while it
    # scales the pixels to 8 bits.
    colour = image.info["transparency"]
    if isinstance(image, PngImageFile) and image.mode in {"L", "RGB"}:
        bits = container.pixels[24]
        if bits == 16:
            image.info["transparency"] = tuple(value >> 8 for value in colour)
        elif bits < 8:
            image.info["transparency"] = colour * 255 // (2**bits - 1)
