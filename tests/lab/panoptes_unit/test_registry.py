"""The registry client against the lab's real registry."""

import pytest

from lab.flavours import FLAVOURS
from panoptes_unit.errors import NotFoundError, RegistryError
from panoptes_unit.sources.reference import Reference
from panoptes_unit.sources.registry import Registry

pytestmark = pytest.mark.lab


@pytest.fixture
def reference(lab):
    return Reference.parse(lab["images"]["panoptes-utils"])


def test_latest_has_this_machine_and_its_size(lab, reference):
    registry = Registry(reference.registry, ca=lab["ca_file"])
    registry.ping()
    digest = registry.digest_of(reference.repository, reference.tag)
    index = registry.index(reference.repository, digest)
    assert index.digest == digest
    entry = index.for_platform(FLAVOURS[lab["architecture"]].platform)
    image = registry.image(reference.repository, entry.digest)
    assert image.size > 100_000_000
    assert image.digest == entry.digest


def test_absent_tag_and_repository(lab, reference):
    registry = Registry(reference.registry, ca=lab["ca_file"])
    with pytest.raises(NotFoundError, match="no-such-tag"):
        registry.digest_of(reference.repository, "no-such-tag")
    with pytest.raises(NotFoundError, match="no/such"):
        registry.digest_of("no/such")


def test_certificate_of_the_lab_is_not_trusted_by_itself(reference):
    with pytest.raises(RegistryError, match="not trusted"):
        Registry(reference.registry).ping()
