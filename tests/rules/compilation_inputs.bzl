"""Names, as files, what compiling a library takes."""

def _compilation_inputs_impl(ctx):
    inputs = ctx.attr.library[OutputGroupInfo].compilation_prerequisites_INTERNAL_
    return [DefaultInfo(
        files = inputs,
        runfiles = ctx.runfiles(transitive_files = inputs),
    )]

compilation_inputs = rule(
    implementation = _compilation_inputs_impl,
    attrs = {"library": attr.label(mandatory = True)},
    doc = "The sources of a cc_library and all headers that they may include.",
)
