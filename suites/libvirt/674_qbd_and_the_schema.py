"""This case checks that libvirt's schema refuses the protocol qbd, and that a definition adds it.

How: docs/libvirt/qbd-disk.xml is validated by libvirt, by xmllint with the installed schema, and
with the schema that has qbd in it. That one must still refuse what was wrong before. As a disk of
rbd, the domain goes through libvirt's parser and comes back; its source must be the same.
Guards: unknown-name-accepted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_in
from qbdcheck.kit.libvirt.schema import WITH_QBD, source_in, violations

WRONG = {
    "another protocol": ("protocol='qbd'", "protocol='qbe'"),
    "no name": (" name='pool/vol'", ""),
    "a wrong port": ("port='7000'", "port='seven'"),
    "a relative path": ("file='/etc/qbd.conf'", "file='qbd.conf'"),
    "qbd in a file disk": ("type='network'", "type='file'"),
    "an unknown element": ("<config ", "<configuration "),
}


@case(
    groups="libvirt names errors",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain source", "MUST: qbdcheck, docs/libvirt.md"),
)
def test(libvirt, scratch):
    example = WITH_QBD.with_name("qbd-disk.xml")
    message = libvirt.fails("define", "--validate", example)
    expect_in("failed to validate against schema", message, "virsh define --validate")
    assert violations(example), "the installed schema accepts the protocol qbd"
    as_rbd = scratch / "rbd.xml"
    as_rbd.write_text(example.read_text().replace("protocol='qbd'", "protocol='rbd'"))
    expect_equal(violations(as_rbd), [], "the installed schema, the same disk with rbd")
    for name, file in (("qbd", example), ("rbd", as_rbd)):
        expect_equal(violations(file, WITH_QBD), [], f"the schema with qbd, a disk with {name}")
    text = as_rbd.read_text().replace("type='kvm'", "type='qemu'")
    libvirt.virsh("define", "--validate", libvirt.file("defined.xml", text))
    back = scratch / "back.xml"
    printed = libvirt.virsh("dumpxml", "talk", "--inactive")
    back.write_text(printed.replace("protocol='rbd'", "protocol='qbd'"))
    expect_equal(violations(back, WITH_QBD), [], "the schema with qbd, what libvirt printed")
    expect_equal(source_in(back), source_in(example), "the source after the way through libvirt")
    for name, (right, wrong) in WRONG.items():
        path = scratch / "wrong.xml"
        text = example.read_text()
        assert right in text, f"{right} is not in {example.name}"
        path.write_text(text.replace(right, wrong, 1))
        assert violations(path, WITH_QBD), f"the schema with qbd accepts {name}: {wrong}"
