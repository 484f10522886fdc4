"""The ready map of every kind of device, by the kind that the device in use says it is."""

from collections.abc import Mapping

from hardware.input_devices import DeviceKind
from hardware.input_devices.mapping import KEYBOARD, PLAYSTATION, XBOX, MappingConfig
from hardware.input_devices.puck import COMPACT_MAPPING, PRO_MAPPING

READY_MAPS: Mapping[DeviceKind, MappingConfig] = {
    "keyboard": KEYBOARD,
    "Xbox pad": XBOX,
    "PlayStation pad": PLAYSTATION,
    "SpaceMouse Compact": COMPACT_MAPPING,
    "SpaceMouse Pro": PRO_MAPPING,
    "script": MappingConfig(motions={}, buttons={}),
}
