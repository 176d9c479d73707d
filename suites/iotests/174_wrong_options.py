"""This case checks that a wrong option of a node is refused, never taken for another or ignored.

How: a right set of options with one mistake at a time, through json: and through --image-opts. The
error texts are in the golden. The same set without the mistake must open.
Related: wrong-volume-or-lun, size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import image_options, json_filename
from qbdcheck.kit.expectations import expect_equal

WRONG = (
    {"bogus": 1},
    {"size": 511},
    {"offset": -512},
    {"size": -512},
    {"offset": 8 << 20, "size": 512},
    {"offset": 512, "size": 8 << 20},
    {"size": "huge"},
    {"read-only": "maybe"},
    {"discard": "sometimes"},
    {"detect-zeroes": "unmap"},
    {"cache": {"direct": "perhaps"}},
    {"node-name": "not a name"},
    {"node-name": "n" * 32},
)
OUT_OF_RANGE = "Value '-512' is out of range"
"""The error of QEMU 10.0 for a negative number."""
AS_QEMU_7_2_SAYS = "Parameter '{}' expects a non-negative number below 2^64"


@case(groups="names errors reading", basis="MUST: QAPI, BlockdevOptions")
def test(disk, qemu_img, golden):
    for options in WRONG:
        node = disk.blockdev() | options
        errors = [
            qemu_img.fails("info", json_filename(node)),
            qemu_img.fails("info", "--image-opts", image_options(node)),
        ]
        messages = [text.splitlines()[0].rpartition("': ")[2] or text for text in errors]
        if all(OUT_OF_RANGE in text for text in messages):
            messages = [AS_QEMU_7_2_SAYS.format(next(iter(options)))] * 2
        golden(f"{options}: {messages[0]}")
        assert messages[0] == messages[1], (
            f"{options}: json: and --image-opts give different errors: {messages}"
        )
    for arguments in (
        (json_filename(disk.blockdev()),),
        ("--image-opts", image_options(disk.blockdev())),
    ):
        seen = qemu_img.json("info", *arguments)["virtual-size"]
        expect_equal(seen, disk.size, "qemu-img info of the right options, virtual-size")
    disk.verify(0, 4096)
