"""One archive of a library and everything that it is linked with."""

_Archives = provider(fields = {"archives": "depset: a library's and those below"})

def _collect_impl(target, ctx):
    deps = getattr(ctx.rule.attr, "deps", [])
    actual = getattr(ctx.rule.attr, "actual", None)
    below = deps + ([actual] if actual else [])
    return [_Archives(archives = depset(
        [f for f in target.files.to_list() if f.extension == "a"],
        transitive = [dep[_Archives].archives for dep in below if _Archives in dep],
    ))]

# Not CcInfo's: Bazel 9 has it at a place of which rules_cc did not know before.
_collect = aspect(
    implementation = _collect_impl,
    attr_aspects = ["actual", "deps"],
)

def _static_archive_impl(ctx):
    archives = ctx.attr.dep[_Archives].archives.to_list()
    out = ctx.actions.declare_file(ctx.label.name + ".a")
    script = ctx.actions.declare_file(ctx.label.name + ".mri")
    ctx.actions.write(script, "\n".join(
        ["CREATE " + out.path] +
        ["ADDLIB " + archive.path for archive in archives] +
        ["SAVE", "END", ""],
    ))
    ctx.actions.run_shell(
        outputs = [out],
        inputs = archives + [script],
        command = "ar -M <" + script.path,
        mnemonic = "StaticArchive",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([out]))]

static_archive = rule(
    implementation = _static_archive_impl,
    doc = "For programs that another build links: NAME.a, and the C++ runtime.",
    attrs = {
        "dep": attr.label(
            doc = "The library.",
            aspects = [_collect],
            mandatory = True,
        ),
    },
)
