"""What an operator drives with: keyboard, gamepad, SpaceMouse, or a script in her place."""

from typing import Literal

DeviceName = Literal["keyboard", "gamepad", "spacemouse", "scripted"]
DeviceKind = Literal["keyboard", "Xbox pad", "PlayStation pad", "SpaceMouse Compact", "SpaceMouse Pro", "script"]
"""What a device turns out to be when it is opened; by this its ready map and the words on its buttons are found."""
