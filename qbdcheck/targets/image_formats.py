"""Image formats on a volume: their options, the room that they need, and why one cannot be made."""

from __future__ import annotations

SECRET = "qbdcheck-secret"  # noqa: S105
"""Id and content of the secret object that opens encrypted images."""
SECRET_OBJECT = f"secret,id={SECRET},data={SECRET}"
_FORMAT_SLACK = 16 << 20
_LUKS_HEADER = 2068480
"""Bytes, measured by `qemu-img measure -O luks` for the default cipher (aes-256, xts)."""
FORMAT_OPTIONS = {
    "vpc": "force_size=on",
    "luks": f"key-secret={SECRET},iter-time=100",
}
"""Options of `qemu-img create` that a format needs: exact size, a key, few iterations."""
GROWING_FORMATS = ("vmdk", "vhdx")
"""Formats whose empty image fits on any volume, but whose file must grow at the first write."""
FIRST_WRITE = 64 << 10
"""Bytes: a whole grain of vmdk, which QEMU writes without a read."""
_CANNOT_GROW = ("Invalid argument", "No space left on device")
"""Errors of an image that allocates data behind the end of a volume that cannot grow. In an image
of another format they are errors of the target."""
_TARGET_FAILED = (*_CANNOT_GROW, "Input/output error", "Connection reset by peer", "Broken pipe",
                  "Transport endpoint is not connected", "Unexpected end-of-file")  # fmt: skip
"""Ends of the message of a `qemu-img create` that could open the volume, and whose request to it
failed. A format that QEMU cannot make on a target is refused with other words."""


def volume_size(image_format: str, size: int) -> int:
    """Return the volume size that a full image of ``size`` bytes with a snapshot needs."""
    if image_format == "raw":
        return size
    if image_format == "luks":  # the disk is the volume without the header
        return size + _LUKS_HEADER
    return 2 * size + _FORMAT_SLACK


def cannot_grow(image_format: str, reported: str) -> bool:
    """Return whether the first write to an image failed because the volume cannot grow.

    :param reported: the message of qemu-io.
    """
    return image_format in GROWING_FORMATS and any(text in reported for text in _CANNOT_GROW)


def is_failure_of_target(image_format: str, reported: str) -> bool:
    """Return whether an image was not made because the target failed a request.

    :param reported: the message of qemu-img.
    """
    return image_format not in GROWING_FORMATS and reported.endswith(_TARGET_FAILED)
