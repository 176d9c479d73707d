"""This case checks that QED images keep their data on a volume.

How: QEMU creates a full image in a file. The image is copied onto a volume of its size, because a
volume does not grow while most formats do. There it is read, overwritten at odd places and checked.
Guards: map-entry-shifted, last-block-overrun.
Related: unaligned-offset-rounded, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.image_on_volume import exercise_image_on_volume


@case(groups="format quick", basis="MUST: QEMU, interop/qed_spec")
def test(target, scratch):
    exercise_image_on_volume(target, "qed", scratch)
