"""The packages of a wheel: configs/ and benchmarks/ travel below vgen/. All else is in setup.cfg."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["vgen", "vgen.*"]), "vgen.configs", "vgen.benchmarks"],
    package_dir={"vgen.configs": "configs", "vgen.benchmarks": "benchmarks"},
)
