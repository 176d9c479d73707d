"""libvirt as a case sees it: a private libvirtd, domains on the target's volumes, and schemas."""
