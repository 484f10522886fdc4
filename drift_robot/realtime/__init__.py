"""A session in real time: a supervisor and its processes, one for each part, on one clock. Imports nothing."""
