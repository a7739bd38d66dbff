"""A test that runs a program of another target."""

def _program_test_impl(ctx):
    program = ctx.attr.program[DefaultInfo]
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = executable,
        target_file = program.files_to_run.executable,
        is_executable = True,
    )
    return [
        DefaultInfo(
            executable = executable,
            runfiles = ctx.runfiles().merge(program.default_runfiles),
        ),
        testing.TestEnvironment(ctx.attr.env),
    ]

program_test = rule(
    implementation = _program_test_impl,
    attrs = {
        "env": attr.string_dict(doc = "Variables of its environment."),
        "program": attr.label(
            mandatory = True,
            executable = True,
            cfg = "target",
            doc = "A program, or a test. It is linked once, however many tests run it.",
        ),
    },
    doc = "Runs a program with arguments and an environment of the test's own.",
    test = True,
)
