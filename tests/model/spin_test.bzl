"""A test that runs a script, with the models that it checks beside it."""

def _spin_test_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = program,
        target_file = ctx.file.script,
        is_executable = True,
    )
    return [DefaultInfo(
        executable = program,
        runfiles = ctx.runfiles(files = [ctx.file.script] + ctx.files.models),
    )]

spin_test = rule(
    implementation = _spin_test_impl,
    doc = "Bazel 9 has no sh_test of its own, and Debian no rules_shell.",
    test = True,
    attrs = {
        "models": attr.label_list(
            doc = "What the script reads, at its place in the tree.",
            allow_files = [".pml"],
        ),
        "script": attr.label(
            doc = "A bash script, started in the root of the tree.",
            allow_single_file = [".sh"],
            mandatory = True,
        ),
    },
)
