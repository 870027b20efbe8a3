"""Devices and presets."""

from app.training.settings import PRESETS, device_names, matching_preset, preset_values


def test_devices_are_named_and_several_gpus_can_work_together():
    assert list(device_names([], apple=False)) == ["cpu"]
    assert list(device_names(["A"], apple=False)) == ["0", "cpu"]
    assert device_names(["A", "B"], apple=True) == {
        "0": "GPU 0: A",
        "1": "GPU 1: B",
        "0,1": "All GPUs (0,1)",
        "mps": "Apple GPU",
        "cpu": "CPU",
    }


def test_a_preset_is_recognised_by_its_values_until_one_is_changed():
    for name in PRESETS:
        values = preset_values(name, epochs=50)
        assert matching_preset(values, epochs=50) == name
        assert matching_preset({**values, "batch": 3}, epochs=50) is None
