"""This case checks that `qemu-img compare` finds equal images equal, and reports the first
difference.

How: a volume is compared with copies: unchanged, with one byte changed in the middle and at the
end, with zeroes in place of a hole, and with a longer copy that ends in zeroes; the last also with
-s (strict).
Guards: short-read-resume-offset.
Related: size-rounded-down, malformed-extents.
"""

from qbdcheck.kit import case

MIB = 1 << 20


@case(groups="img", basis="MUST: qemu-img(1), compare")
def test(new_disk, qemu_io, qemu_img, golden):
    one, two = new_disk("4M"), new_disk("4M", prefill=False)
    longer = new_disk("5M", prefill=False)

    def compare(what, *arguments):
        done = qemu_img.run("compare", *arguments, check=False)
        golden(f"{what}: {done.stdout.strip()} ({done.returncode})")

    with qemu_io(one) as io:
        io.write_zeroes(MIB, MIB, unmap=True)
        io.write(3 * MIB, 65536, pattern=0)
    for copy in (two, longer):
        qemu_img("convert", "-n", "-O", "raw", one.filename, copy.filename)
    compare("copy", one.filename, two.filename)
    compare("longer copy", one.filename, longer.filename)
    compare("longer copy, strict", "-s", one.filename, longer.filename)
    with qemu_io(two.filename) as io:
        io.write(MIB + 4096 + 7, 1, pattern=1)
        compare_at = "one byte in the hole"
    compare(compare_at, one.filename, two.filename)
    with qemu_io(longer.filename) as io:
        io.write(5 * MIB - 1, 1, pattern=1)
    compare("the last byte of the longer", one.filename, longer.filename)
    with qemu_io(one) as io:
        io.write(4 * MIB - 1, 1, pattern=0xEE)
        io.write(MIB + 4096 + 7, 1, pattern=1)
    compare("the last byte", two.filename, one.filename)
    one.verify()
