"""The one thing that pyproject.toml cannot say: every package found below reconciler/, and schemas/ as one of them.

The JSON Schemas are at the top of the repository, where editors find them, and in the wheel as reconciler/schemas; what
a kind adds to them is in its own folder in both. Templates are beside the code that fills them in.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["reconciler", "reconciler.*"]), "reconciler.schemas"],
    package_dir={"reconciler.schemas": "schemas"},
    package_data={
        "": ["*.schema.json"],
        "reconciler": ["demo.zones.json"],
        "reconciler.renderers": ["templates/*"],
        "reconciler.scaffold": ["files/**/*", "requirements.lock"],
    },
)
