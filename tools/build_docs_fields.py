"""Leave fields of dataclasses out of the reference where the docstring's `Args` says what they are.

An extension of griffe, which reads the sources for the reference. In mkdocs.yml it stands after the one for
dataclasses, which needs the fields.
"""

from __future__ import annotations

import griffe


class FieldsInArgs(griffe.Extension):
    """Forgets a class's attribute that has no docstring of its own, where the class has one."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: object) -> None:
        """Forget the fields of all classes of a package."""
        _forget_fields(pkg)


def _forget_fields(place: griffe.Object) -> None:
    for name, member in list(place.members.items()):
        if member.is_alias:
            continue
        if member.is_module or member.is_class:
            _forget_fields(member)
        elif place.is_class and place.docstring is not None and member.is_attribute and member.docstring is None:
            place.del_member(name)
