"""`drift-robot calibrate`: its commands, its window, and what a session demands of calibrations."""
