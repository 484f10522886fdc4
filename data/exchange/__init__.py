"""Sessions in other people's formats, out and in: LeRobot, diffusion_policy, robomimic (docs/exchange.md).

`table.py` says what a step is called there, `exporting.py` and `importing.py` walk through episodes block by block, and
each format has a module of its own, which alone imports that format's libraries.
"""
