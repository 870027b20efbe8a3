"""YOLOv10, held to what is asked of every model that Ultralytics ships."""

import pytest

from tests import families

family = families.fixture("yolov10")
test_every_shipped_model_is_pruned_exactly = families.is_pruned_exactly
test_every_shipped_model_can_be_compensated = pytest.mark.slow(families.can_be_compensated)
