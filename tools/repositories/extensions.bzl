"""The system libraries for MODULE.bazel.  Bazel 4.2.3 never loads this file."""

load(":system_libraries.bzl", _declare = "system_libraries")

def _system_libraries_impl(_):
    _declare()

system_libraries = module_extension(implementation = _system_libraries_impl)
