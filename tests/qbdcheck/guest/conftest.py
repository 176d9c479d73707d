"""Guests for tests that change nothing: one image, and one guest per module."""

from collections.abc import Iterator

import pytest

from qbdcheck.catalogue.history import default_cache_dir
from qbdcheck.errors import NotRun
from qbdcheck.guest.guest import Guest
from qbdcheck.guest.image import GuestImage, guest_image
from qbdcheck.guest.template import template
from qbdcheck.programs.installed import Programs


@pytest.fixture(scope="session")
def image() -> GuestImage:
    try:
        return guest_image(default_cache_dir({}))
    except NotRun as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def restored(image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    saved = template(Programs(), image, image.kernel.parent)
    guest = Guest(Programs(), tmp_path_factory.mktemp("guest"), image, template=saved.directory)
    try:
        guest.start()
        yield guest
    finally:
        guest.kill()
