"""Cameras behind one interface, their clocks and their health."""
