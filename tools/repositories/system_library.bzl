"""A library that the system's package manager installs, as a repository.

`@NAME//:NAME` is a cc_library if the library is installed.  Otherwise the
target is incompatible with every platform: `bazel test //...` then skips the
targets that depend on it, and does not fail.  A command that names such a
target fails, with the package to install.  Or the target is empty, for code
that works without the library: `#if __has_include(...)` tells it.
"""

_INSTALLED = """\
load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "{name}",
    hdrs = glob(["include/**"], allow_empty = True),
    defines = {defines},
    includes = {includes},
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
"""

_MISSING = """\
load("@rules_cc//cc:defs.bzl", "cc_library")

# There is no {header}.  Bazel prints the name of an unsatisfied target, so the
# name says what to do.
constraint_setting(name = "installed")

constraint_value(
    name = "not_installed_here--apt-get_install_{package}",
    constraint_setting = ":installed",
)

cc_library(
    name = "{name}",
    target_compatible_with = [":not_installed_here--apt-get_install_{package}"],
    visibility = ["//visibility:public"],
)
"""

_EMPTY = """\
load("@rules_cc//cc:defs.bzl", "cc_library")

# There is no {header}.
cc_library(
    name = "{name}",
    visibility = ["//visibility:public"],
)
"""

def _system_library_impl(ctx):
    includes = []
    if ctx.path(ctx.attr.header).exists:
        build = _INSTALLED
        for i, directory in enumerate(ctx.attr.include_directories):
            if ctx.path(directory).exists:
                includes.append("include/%d" % i)
                ctx.symlink(directory, "include/%d" % i)
    else:
        build = _EMPTY if ctx.attr.optional else _MISSING
    ctx.file("BUILD.bazel", build.format(
        name = ctx.attr.library,
        header = ctx.attr.header,
        package = ctx.attr.package,
        defines = ctx.attr.defines,
        includes = includes,
        linkopts = ctx.attr.linkopts,
    ))

_system_library = repository_rule(
    implementation = _system_library_impl,
    attrs = {
        "defines": attr.string_list(),
        "header": attr.string(mandatory = True),
        "include_directories": attr.string_list(),
        "library": attr.string(mandatory = True),
        "linkopts": attr.string_list(),
        "optional": attr.bool(),
        "package": attr.string(mandatory = True),
    },
    # Looks at the machine, so each Bazel server looks again, and so does
    # `bazel sync --configure`.
    configure = True,
    local = True,
)

def system_library(
        name,
        header,
        package,
        library = None,
        include_directories = [],
        defines = [],
        linkopts = [],
        optional = False):
    """Declares the repository `@NAME` with the one target `@NAME//:LIBRARY`.

    Args:
      name: what to call the repository.
      header: absolute path of a header; the library is installed if it exists.
      package: Debian's package that installs it, for the message where it is
        missing.
      library: what to call the target, if not as the repository.
      include_directories: absolute paths to search for headers, where the
        compiler's own search of /usr/include does not find them; those that
        are not there are left out.
      defines: macros for whoever uses it.
      linkopts: what to link, such as `-ljemalloc`.
      optional: where it is not installed, what depends on it is built without
        it, and not skipped.
    """
    _system_library(
        name = name,
        # Not the rule's own name: in MODULE.bazel that is a mangled one.
        library = library or name,
        header = header,
        package = package,
        include_directories = include_directories,
        defines = defines,
        linkopts = linkopts,
        optional = optional,
    )
