"""Devices, their drivers and doubles, and the simulated cell; nothing here knows of the application."""
