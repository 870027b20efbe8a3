"""Families before YOLOv8, and those that no other file names, held to what is asked of every shipped model."""

import pytest

from tests import families

family = families.fixture("other")
test_every_shipped_model_is_pruned_exactly = families.is_pruned_exactly
test_every_shipped_model_can_be_compensated = pytest.mark.slow(families.can_be_compensated)
