"""One archive of a library and everything that it is linked with."""

_ArchivesInfo = provider(
    "What a library is linked with.",
    fields = {"archives": "depset: its own and those below"},
)

def _collect_impl(target, ctx):
    deps = getattr(ctx.rule.attr, "deps", [])
    actual = getattr(ctx.rule.attr, "actual", None)
    below = deps + ([actual] if actual else [])
    return [_ArchivesInfo(archives = depset(
        [f for f in target.files.to_list() if f.extension == "a"],
        transitive = [dep[_ArchivesInfo].archives for dep in below if _ArchivesInfo in dep],
    ))]

# Not CcInfo's: Bazel 9 has it at a place of which rules_cc did not know before.
_collect = aspect(
    implementation = _collect_impl,
    attr_aspects = ["actual", "deps"],
)

def _static_archive_impl(ctx):
    archives = ctx.attr.dep[_ArchivesInfo].archives.to_list()
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
