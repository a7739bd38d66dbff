"""The one macro that a project with a WORKSPACE calls to depend on Tandem."""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
load(":system_libraries.bzl", "asio_library", "liburing_library")

def tandem_dependencies(asio = "asio", liburing = "liburing"):
    """Declares the repositories that Tandem needs and that are not declared yet.

    Args:
      asio: what to call the repository of the installed Asio. Who has another
        repository @asio that is to stay gives a new name here, and
        `repo_mapping = {"@asio": "@NEW_NAME"}` to the repository of Tandem.
      liburing: likewise, of the installed liburing.
    """
    _http_archive(
        name = "bazel_skylib",
        sha256 = "bc283cdfcd526a52c3201279cda4bc298652efa898b10b4db0837dc51652756f",
        urls = ["https://github.com/bazelbuild/bazel-skylib/releases/download/1.7.1/bazel-skylib-1.7.1.tar.gz"],
    )
    _http_archive(
        name = "platforms",
        sha256 = "218efe8ee736d26a3572663b374a253c012b716d8af0c07e842e82f238a0a7ee",
        urls = ["https://github.com/bazelbuild/platforms/releases/download/0.0.10/platforms-0.0.10.tar.gz"],
    )
    _http_archive(
        name = "rules_cc",
        sha256 = "2037875b9a4456dce4a79d112a8ae885bbc4aad968e6587dca6e64f3a0900cdf",
        strip_prefix = "rules_cc-0.0.9",
        urls = ["https://github.com/bazelbuild/rules_cc/releases/download/0.0.9/rules_cc-0.0.9.tar.gz"],
    )
    _http_archive(
        name = "com_google_absl",
        sha256 = "f50e5ac311a81382da7fa75b97310e4b9006474f9560ac46f54a9967f07d4ae3",
        strip_prefix = "abseil-cpp-20240722.0",
        urls = ["https://github.com/abseil/abseil-cpp/releases/download/20240722.0/abseil-cpp-20240722.0.tar.gz"],
    )
    if not native.existing_rule(asio):
        asio_library(asio)
    if not native.existing_rule(liburing):
        liburing_library(liburing)

def _http_archive(name, **kwargs):
    if not native.existing_rule(name):
        http_archive(name = name, **kwargs)
