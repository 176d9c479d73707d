"""This case checks that a wrong option of a node is refused, never taken for another or ignored.

How: a right set of options with one thing wrong at a time, through json: and through --image-opts;
the words are in the golden, and the same set without the mistake must open.
Guards: wrong-volume-or-lun, size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import image_options, json_filename

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


@case(groups="names errors")
def test(disk, qemu_img, golden):
    for options in WRONG:
        node = disk.blockdev() | options
        words = [
            qemu_img.fails("info", json_filename(node)),
            qemu_img.fails("info", "--image-opts", image_options(node)),
        ]
        said = [text.splitlines()[0].rpartition("': ")[2] or text for text in words]
        golden(f"{options}: {said[0]}")
        assert said[0] == said[1], f"json: and --image-opts differ: {said}"
    for words in (
        (json_filename(disk.blockdev()),),
        ("--image-opts", image_options(disk.blockdev())),
    ):
        assert qemu_img.json("info", *words)["virtual-size"] == disk.size
    disk.verify(0, 4096)
