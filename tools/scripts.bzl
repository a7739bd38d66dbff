"""A script to be run by `bazel run`, and one that is a test."""

def _script_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name + ".script")
    ctx.actions.symlink(
        output = program,
        target_file = ctx.file.script,
        is_executable = True,
    )
    return [DefaultInfo(
        executable = program,
        runfiles = ctx.runfiles(files = [ctx.file.script] + ctx.files.data),
    )]

_ATTRS = {
    "data": attr.label_list(
        doc = "What the script reads, at its place in the tree.",
        allow_files = True,
    ),
    "script": attr.label(
        doc = "Started in the root of a tree that has it and `data` alone; " +
              "`bazel run` gives the whole one as $BUILD_WORKSPACE_DIRECTORY.",
        allow_single_file = [".sh"],
        mandatory = True,
    ),
}

_DOC = "Bazel 9 has no sh_binary or sh_test, and Debian no rules_shell."

script_binary = rule(
    implementation = _script_impl,
    doc = _DOC,
    executable = True,
    attrs = _ATTRS,
)

script_test = rule(
    implementation = _script_impl,
    doc = _DOC,
    test = True,
    attrs = _ATTRS,
)
