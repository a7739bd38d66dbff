"""The system libraries for MODULE.bazel.  Bazel 4.2.3 never loads this file."""

load(
    ":system_libraries.bzl",
    "asio_library",
    "liburing_library",
    _declare_development_libraries = "development_libraries",
)

def _consumer_libraries_impl(_):
    asio_library()
    liburing_library()

consumer_libraries = module_extension(implementation = _consumer_libraries_impl)

def _development_libraries_impl(_):
    _declare_development_libraries()

development_libraries = module_extension(
    implementation = _development_libraries_impl,
)
