"""A script to be run by `bazel run`."""

def _script_binary_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name + ".script")
    ctx.actions.symlink(
        output = program,
        target_file = ctx.file.script,
        is_executable = True,
    )
    return [DefaultInfo(
        executable = program,
        runfiles = ctx.runfiles(files = [ctx.file.script]),
    )]

script_binary = rule(
    implementation = _script_binary_impl,
    doc = "Bazel 9 has no sh_binary of its own, and Debian no rules_shell.",
    executable = True,
    attrs = {
        "script": attr.label(
            doc = "Started where `bazel run` does; the tree is at " +
                  "$BUILD_WORKSPACE_DIRECTORY.",
            allow_single_file = True,
            mandatory = True,
        ),
    },
)
