"""OpenAI's masks, which are transparent where the picture shall change, as the server takes them: white there."""

import io

from PIL import Image, UnidentifiedImageError

from tritone_gateway.errors import ApiError, invalid

MOST_PIXELS = 50_000_000
# Those that the server reads, too, and that Pillow reads by itself: for others, such as PostScript, it starts programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def mask_of(picture: bytes, mask: bytes | None) -> bytes | None:
    """A PNG, white where the mask is transparent; without a mask, where the picture is. None: all may change.

    Raises: ApiError: 400: no picture, one without transparency, or of another size.
    """
    seen = _opened(picture, "image")
    if mask is None:
        return None if (alpha := _alpha(seen)) is None or alpha.getextrema()[0] == 255 else _white_where_clear(alpha)
    shown = _opened(mask, "mask")
    if shown.size != seen.size:
        raise invalid(f"mask has {_by(shown)} pixels, the image has {_by(seen)}: they must be alike", "mask")
    if (alpha := _alpha(shown)) is None:
        raise invalid("mask has no transparency: what shall change must be transparent in it", "mask")
    return _white_where_clear(alpha)


def encoded(png: bytes, format: str, compression: int) -> bytes:
    """A PNG in another format; `compression` is 0..100, as OpenAI has it: 100 is the best."""
    if format == "png":
        return png
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, format=format, quality=compression)
    return buffer.getvalue()


def _opened(content: bytes, field: str) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise _too_large(picture, field)
        picture.load()
    except Image.DecompressionBombError:
        raise invalid(f"{field} has far more pixels than the limit, {MOST_PIXELS}", field) from None
    except UnidentifiedImageError:
        raise invalid(f"{field} is no picture that can be read; {', '.join(FORMATS)} are", field) from None
    except (OSError, SyntaxError, ValueError):
        raise invalid(f"{field} is a broken picture, or a part of one", field) from None
    return picture


def _alpha(picture: Image.Image) -> Image.Image | None:
    if not picture.has_transparency_data:
        return None
    return picture.convert("RGBA").getchannel("A")


def _white_where_clear(alpha: Image.Image) -> bytes:
    buffer = io.BytesIO()
    alpha.point(lambda opacity: 255 - opacity).save(buffer, format="PNG")
    return buffer.getvalue()


def _too_large(picture: Image.Image, field: str) -> ApiError:
    return invalid(f"{field} has {_by(picture)} pixels, the limit is {MOST_PIXELS}", field)


def _by(picture: Image.Image) -> str:
    return f"{picture.width}x{picture.height}"
