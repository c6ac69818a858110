"""Packages of the wheel: hrec, and configs/ as data in hrec/configs. All else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
folders = [here / "configs", *sorted(path for path in (here / "configs").rglob("*") if path.is_dir())]
configs = [".".join(("hrec", *folder.relative_to(here).parts)) for folder in folders]

setup(
    packages=[*find_packages(include=["hrec*"]), *configs],
    package_dir={"hrec.configs": "configs"},
    package_data={name: ["*.json"] for name in configs},
)
