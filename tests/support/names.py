"""Prints the names in the module socketserver: a class and one of its names on each line.

The class of the module's own names is "The module". Functions are printed with their parameters, and
attributes with their values. Attributes that only instances have are found in the source.
"""

import ast
import enum
import inspect
import socketserver


def is_public(name):
    return not name.startswith("_") or name in ("__init__", "__enter__", "__exit__")


def is_own(name):
    """Whether the name is defined in the module, and not imported."""
    value = getattr(socketserver, name)
    origin = getattr(value, "__module__", "socketserver")
    return not inspect.ismodule(value) and origin == "socketserver"


def describe(owner, name, value):
    if not callable(value):
        value = value.name if isinstance(value, enum.Enum) else repr(value)
        return f"{name} = {value}"
    parameters = list(inspect.signature(value).parameters.values())[1:]
    signature = inspect.Signature(parameters)
    return f"{owner if name == '__init__' else name}{signature}"


def instance_attributes(node):
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            if isinstance(part.value, ast.Name) and part.value.id == "self":
                yield part.attr


own = {name for name in dir(socketserver) if is_public(name) and is_own(name)}
for name in sorted(own | set(socketserver.__all__)):
    print("The module", name, sep="\t")

source = ast.parse(inspect.getsource(socketserver))
classes = {node.name: node for node in ast.walk(source) if isinstance(node, ast.ClassDef)}
for owner in sorted(own & set(classes)):
    mro = getattr(socketserver, owner).__mro__
    for name, value in vars(mro[0]).items():
        if is_public(name):
            print(owner, describe(owner, name, value), sep="\t")
    seen = {name for base in mro for name in vars(base)}
    for base in mro[1:-1]:
        seen |= set(instance_attributes(classes[base.__name__]))
    for name in sorted(set(instance_attributes(classes[owner])) - seen):
        if is_public(name):
            print(owner, name, sep="\t")
