"""The proxies, and how each is told how many buffers it has in all."""

import collections
import dataclasses
import os
import pathlib
import shutil
import subprocess
import typing

from proxies import programs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
THREADS = 2

_HAPROXY = """\
global
  nbthread {threads}
  maxconn 4000
  {buffers}
defaults
  mode {mode}
  timeout connect 20s
  timeout client 60s
  timeout server 60s
listen proxy
  bind 127.0.0.1:{port}{bind}
  server nginx 127.0.0.1:{backend}
"""

_STREAM = """\
load_module {module};
{user}daemon off;
pid {folder}/stream.pid;
error_log stderr crit;
worker_processes {threads};
worker_rlimit_nofile 8192;
events {{ worker_connections 4000; multi_accept on; }}
stream {{
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport;
    proxy_pass 127.0.0.1:{backend};
    proxy_buffer_size 16k;
    proxy_timeout 60s;
    tcp_nodelay on;
  }}
}}
"""

# What a proxy is started with. `buffers`: in all, None for no limit. `places`:
# the paths of the command line.
Setting = collections.namedtuple(
    "Setting", ["buffers", "mode", "folder", "port", "backend", "places"])


@dataclasses.dataclass(frozen=True)
class Peer:
    """One proxy."""

    title: str
    color: str
    program: typing.Callable  # its path or name, for the paths of the command line
    command: typing.Callable  # it and its arguments, for a Setting
    modes: tuple = ("tcp",)
    has_limit: bool = True  # whether its buffers can be limited
    module: typing.Optional[pathlib.Path] = None  # which it loads

    def lacks(self, places):
        """What is not installed; None for nothing."""
        program = self.program(places)
        if program is None:
            return "where integrations/haproxy/build made it (--haproxies)"
        if shutil.which(program) is None:
            return str(program)
        if self.module is not None and not self.module.exists():
            return str(self.module)
        return None

    def version(self, places):
        """What the program tells of it; nothing for the relay, of this tree."""
        program = self.program(places)
        if program == places.relay:
            return ""
        output = subprocess.run([program, "-v"], stdout=subprocess.PIPE, check=True,
                                stderr=subprocess.STDOUT, text=True).stdout
        return output.splitlines()[0]


def buffer_lines(limit, reserve):
    """For HAProxy's section "global"; the reserve is of each thread."""
    return f"tune.buffers.limit {limit}\n  tune.buffers.reserve {reserve}"


def shared_limit(buffers):
    """For HAProxy 2.6, whose limit includes its reserve, of 2 by default."""
    return f"tune.buffers.limit {buffers}" if buffers else ""


def limit_beside_reserve(buffers):
    """For HAProxy 3, whose limit is beside the reserves of all threads.

    Each reserve is 4, as by default, or what a limit of 3, its least, leaves."""
    if not buffers:
        return ""
    reserve = min(4, max(0, (buffers - 3) // THREADS))
    return buffer_lines(buffers - THREADS * reserve, reserve)


def haproxy_command(program, lines, setting, bind=""):
    """HAProxy in the foreground, with these lines in its section "global".

    `bind` is more of its directive of that name."""
    config = setting.folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(
        threads=THREADS, buffers=lines, mode=setting.mode, port=setting.port,
        bind=bind, backend=setting.backend))
    return [program, "-db", "-f", config]


def _debian(setting):
    return haproxy_command("haproxy", shared_limit(setting.buffers), setting)


def _built(title, color, name):
    """One of those that integrations/haproxy/build makes."""
    def program(places):
        return places.haproxies and places.haproxies / f"haproxy-{name}"

    def command(setting):
        return haproxy_command(program(setting.places),
                               limit_beside_reserve(setting.buffers), setting)

    return Peer(title, color, program, command, modes=("tcp", "http"))


def _nginx(setting):
    config = setting.folder / "stream.conf"
    config.write_text(_STREAM.format(
        module=_STREAM_MODULE, user=programs.nginx_user(), folder=setting.folder,
        threads=THREADS, port=setting.port, backend=setting.backend))
    return ["nginx", "-e", "stderr", "-p", setting.folder, "-c", config]


def _relay(setting):
    # 1,000 sessions cannot hold 4,096.
    return [setting.places.relay, f"--listen=127.0.0.1:{setting.port}",
            f"--backend=127.0.0.1:{setting.backend}", f"--threads={THREADS}",
            f"--buffers={setting.buffers or 4096}"]


PEERS = {
    "haproxy": Peer("Debian's HAProxy", "#c85f0a", lambda places: "haproxy", _debian,
                    modes=("tcp", "http")),
    "stock": _built("HAProxy 3.0", "#e3b341", "stock"),
    "edited": _built("3.0, two words changed", "#8d6e4a", "edited"),
    "tandem": _built("3.0 on Tandem", "#7a3fb5", "tandem"),
    "nginx": Peer("nginx's stream module", "#3d8b37", lambda places: "nginx", _nginx,
                  has_limit=False, module=_STREAM_MODULE),
    "relay": Peer("relay", "#2468c8", lambda places: places.relay, _relay),
}


def build_relay():
    """Builds //tools:relay; returns its path."""
    bazel = ["bazel"]
    subprocess.run([*bazel, "build", "-c", "opt", "//tools:relay"], cwd=ROOT,
                   check=True, stderr=subprocess.DEVNULL)
    found = subprocess.run([*bazel, "info", "-c", "opt", "bazel-bin"], cwd=ROOT,
                           check=True, capture_output=True, text=True)
    return pathlib.Path(found.stdout.strip()) / "tools/relay/relay"


def find_daemons():
    """Debian keeps daemons where a user's shell does not look."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
