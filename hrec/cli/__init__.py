"""The commands: one file each. ``main`` is that of train_hete.py and train_homo.py."""

from hrec.cli.train import train as main

__all__ = ["main"]
