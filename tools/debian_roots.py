"""Run commands of this project in minimal Debian systems, below a directory, without a container.

    python tools/debian_roots.py bare [--release trixie]...   the README's commands on bare systems
    python tools/debian_roots.py other-qemu [--release trixie-backports]... [CASE...]
                                                              cases with newer QEMUs
    python tools/debian_roots.py container                    build and run packaging/Containerfile
    python tools/debian_roots.py run RELEASE -- COMMAND...    any command in the fresh clone there

mmdebstrap makes a root file system (variant minbase: no Python, no git) in the cache. A command
runs in a copy of it, with a clone of this checkout's HEAD, in mount and process namespaces of its
own. All of its processes and mounts end with it, and the copy is removed at the end.

Needs root and mmdebstrap, and ``container`` needs buildah. Without them nothing is run: the reason
is printed, and the exit status is 0 except for ``run``, because the place of the others is the
nightly run of a machine that has all of them.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASES = ("bookworm", "trixie")
BACKPORTS = "-backports"
QEMU_RELEASES = ("trixie", f"trixie{BACKPORTS}")
"""Where newer QEMUs come from: 10.0 and, in November 2026, 11.1."""
_PIN = "Package: *\nPin: release n={}\nPin-Priority: 900\n"
"""QEMU of the backports needs firmware from there too (apt_preferences(5))."""
USER = "tester"
MIRROR = os.environ.get("QBDCHECK_DEBIAN_MIRROR", "http://deb.debian.org/debian")
PASSED = ("PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
"""Variables of this machine's network that the systems need too."""
CERTIFICATES = "/srv/certificates.crt"
"""A copy of the file that PIP_CERT names, for a network whose proxy has its own certificate. It is
not in /etc/ssl, where the package ca-certificates would replace it."""
_ENTER = """
set -e
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount -t sysfs sysfs "$0/sys"
mount -t tmpfs tmpfs "$0/tmp"
chmod 1777 "$0/tmp"
exec chroot "$0" /usr/bin/env -i "$@"
"""


class CannotMakeRootError(Exception):
    """This machine cannot make roots; the message says why."""


def cache_dir() -> Path:
    """Return the directory of the roots."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "qbdcheck" / "debian-roots"


def base_root(release: str) -> Path:
    """Return the directory of a minimal system, made on first use.

    :raise CannotMakeRootError: not root, or mmdebstrap is missing.
    """
    if os.geteuid() != 0:
        raise CannotMakeRootError("needs root")
    if shutil.which("mmdebstrap") is None:
        raise CannotMakeRootError("needs mmdebstrap; apt-get install mmdebstrap")
    root = cache_dir() / release
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{release}.", dir=root.parent))
    new.chmod(0o755)
    print(f"making a minimal system of Debian {release}", flush=True)
    try:
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", release, str(new), MIRROR], check=True
        )
        new.rename(root)
    except OSError:  # another process was faster
        if not root.is_dir():
            raise
        shutil.rmtree(new, ignore_errors=True)
    return root


@contextmanager
def system(release: str) -> Iterator[Path]:
    """Yield the root of a fresh system with a clone of HEAD in /srv/qbdcheck.git.

    A release that ends with ``-backports`` prefers the packages there.
    """
    base = base_root(release.removesuffix(BACKPORTS))
    with tempfile.TemporaryDirectory(prefix="qbd-root-", dir="/var/tmp") as directory:
        root = Path(directory) / "root"
        subprocess.run(["cp", "-a", str(base), str(root)], check=True)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        if "PIP_CERT" in os.environ:
            shutil.copy(os.environ["PIP_CERT"], root / CERTIFICATES.lstrip("/"))
        subprocess.run(
            ["git", "clone", "--quiet", "--bare", str(ROOT), str(root / "srv/qbdcheck.git")],
            check=True,
        )
        if release.endswith(BACKPORTS):
            sources = root / "etc/apt/sources.list.d/backports.list"
            sources.write_text(f"deb {MIRROR} {release} main\n")
            (root / "etc/apt/preferences.d/backports").write_text(_PIN.format(release))
        yield root


def enter(root: Path, command: str, user: str = "root") -> int:
    """Run a shell command in a system, as a login of `user`; return its exit status."""
    home = "/root" if user == "root" else f"/home/{user}"
    environment = [
        f"HOME={home}",
        f"USER={user}",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL=C.UTF-8",
        "TERM=dumb",
        "DEBIAN_FRONTEND=noninteractive",
    ]
    if "PIP_CERT" in os.environ:
        environment += [f"PIP_CERT={CERTIFICATES}", f"SSL_CERT_FILE={CERTIFICATES}"]
    environment += [f"{name}={os.environ[name]}" for name in PASSED if name in os.environ]
    shell = ["bash", "-ec", f"cd ~ && {command}"]
    if user != "root":
        shell = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *shell]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    print(f"[{root.parent.name}, {user}] {command}", flush=True)
    argv = [*unshare, "bash", "-c", _ENTER, str(root), *environment, *shell]
    return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL).returncode


def must(root: Path, command: str, user: str = "root") -> None:
    """Run a command.

    :raise SystemExit: it failed; the exit status is 1.
    """
    if status := enter(root, command, user):
        print(f"FAILED with exit status {status}: {command}", flush=True)
        raise SystemExit(1)


def readme_packages() -> str:
    """Return the package line of the README, without its comment."""
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("apt-get install"):
            return line.partition("#")[0].strip()
    raise SystemExit("README.md has no line that begins with: apt-get install")


NEEDS_ONLY_PYTHON = (
    "python3 ./check --help > /dev/null",
    "./check -h > /dev/null",
    "./check -l > /dev/null",
    "./check --version",
    "./check --doctor || test $? = 2",  # 2: something is missing
)


def bare(release: str, tests: str) -> None:
    """Run the README's commands as root, and then as a user, on a bare system.

    The user then runs the installed package, which root has put into /opt: a user cannot write
    there.
    """
    clone = "git clone --quiet /srv/qbdcheck.git qbdcheck && cd qbdcheck"
    with system(release) as root:
        must(root, f"apt-get update -q && {readme_packages()} -q")
        for user in ("root", USER):
            if user != "root":
                must(root, f"useradd --create-home {user}")
                must(root, "git config --system --add safe.directory '*'")
            must(root, clone, user)
            for command in NEEDS_ONLY_PYTHON:
                must(root, f"cd qbdcheck && {command}", user)
            must(root, "cd qbdcheck && ./check --install", user)
            must(root, f"cd qbdcheck && ./check --tests {tests}", user)
        must(root, "python3 -m venv /opt/qbdcheck && /opt/qbdcheck/bin/pip install -q ~/qbdcheck")
        must(root, "/opt/qbdcheck/bin/qbdcheck --version && /opt/qbdcheck/bin/qbdcheck 1-20", USER)
        must(root, "apt-get install -y -q --no-install-recommends pipx")
        must(root, "pipx install ~/qbdcheck && ~/.local/bin/qbdcheck 1-20", USER)


OTHER_QEMU: Sequence[Sequence[str]] = (
    ("1-499", "1000-1499", "-g", "guest-quick"),
    ("-t", "reference-vhost-user", "800-849"),
    ("-t", "vhost-user", "800-849"),
    ("-t", "qemu-nbd", "350-399", "1350-1399"),
    ("-t", "file", "-vmdk", "-parallels", "-g", "quick"),
)
"""What runs with another QEMU, if no case is named: all cases that a version can change."""


def other_qemu(release: str, runs: Sequence[Sequence[str]]) -> list[str]:
    """Run cases with the QEMU of a release, in a clone there; return the runs that failed.

    :raise SystemExit: the system could not be made ready; the exit status is 1.
    """
    with system(release) as root:
        must(root, f"apt-get update -q && {readme_packages()} -q")
        must(root, "git clone --quiet /srv/qbdcheck.git qbdcheck")
        must(root, "cd qbdcheck && ./check --install --doctor")
        return [
            f"{release}: {shlex.join(run)}"
            for run in runs
            if enter(root, f"cd qbdcheck && ./check -j2 {shlex.join(run)}")
        ]


def container() -> None:
    """Build the image of packaging/Containerfile with buildah, and run cases in it.

    The base image is a minimal root of this module, so no registry is asked. Images and layers are
    in a directory of their own, which is removed at the end.

    :raise CannotMakeRootError: buildah is missing, or a root cannot be made.
    """
    base = base_root("trixie")
    if shutil.which("buildah") is None:
        raise CannotMakeRootError("needs buildah; apt-get install buildah")
    with tempfile.TemporaryDirectory(prefix="qbd-image-", dir="/var/tmp") as directory:
        place = Path(directory)
        storage = f'driver = "vfs"\ngraphroot = "{place}/images"\nrunroot = "{place}/run"\n'
        (place / "storage.conf").write_text(f"[storage]\n{storage}")
        (place / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(place / "storage.conf")}
        shutil.copytree(ROOT / "packaging", place / "context/packaging")

        def buildah(command: str, *arguments: str) -> str:
            argv = ["buildah", command, *arguments]
            print(f"[buildah] {shlex.join(argv)}", flush=True)
            done = subprocess.run(
                argv, cwd=place / "context", env=environment, stdout=subprocess.PIPE, text=True,
                check=False,
            )  # fmt: skip
            if done.returncode:
                print(done.stdout)
                raise SystemExit(1)
            return done.stdout.strip()

        wheel = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "-w",
            str(place / "context/dist"),
        ]
        subprocess.run([*wheel, str(ROOT)], check=True)
        policy = ["--signature-policy", str(place / "policy.json")]
        root = buildah("from", "scratch")
        buildah("add", "--quiet", root, str(base), "/")
        buildah("commit", *policy, "--quiet", "--rm", root, "docker.io/library/debian:trixie-slim")
        network = []
        if "PIP_CERT" in os.environ:
            shutil.copy(os.environ["PIP_CERT"], place / "ca.crt")
            network = [
                "-v",
                f"{place}/ca.crt:/srv/ca.crt:ro",
                "--build-arg",
                "PIP_CERT=/srv/ca.crt",
            ]
        buildah(
            "build", *policy, "--isolation", "chroot", "--pull-never", *network,
            "-f", "packaging/Containerfile", "-t", "qbdcheck", ".",
        )  # fmt: skip
        made = buildah("from", *policy, "--pull-never", "localhost/qbdcheck")
        print(buildah("run", "--isolation", "chroot", made, "--", "qbdcheck", "1-20"))


def main() -> int:
    """Run what the arguments ask for; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("bare")
    one.add_argument("--release", action="append", choices=RELEASES)
    one.add_argument("--tests", default="", help="arguments of --tests; by default none, as in CI")
    one.add_argument("--quick", action="store_true", help="the same as --tests='-e lint'")
    one = commands.add_parser("other-qemu")
    one.add_argument("--release", action="append", choices=QEMU_RELEASES, help="default: all")
    one.add_argument("cases", nargs="*", help="arguments of ./check; by default OTHER_QEMU")
    commands.add_parser("container")
    one = commands.add_parser("run")
    one.add_argument("release", choices=sorted({*RELEASES, *QEMU_RELEASES}))
    one.add_argument("argv", nargs="+", metavar="COMMAND")
    options, rest = parser.parse_known_args()
    try:
        if options.command == "bare":
            for release in options.release or RELEASES:
                bare(release, "-e lint" if options.quick else options.tests)
        elif options.command == "container":
            container()
        elif options.command == "other-qemu":
            given = [*options.cases, *rest]
            runs = [given] if given else OTHER_QEMU
            releases = options.release or QEMU_RELEASES
            if failed := [one for release in releases for one in other_qemu(release, runs)]:
                print(f"FAILED: {'; '.join(failed)}", flush=True)
                return 1
        else:
            with system(options.release) as root:
                must(root, f"apt-get update -q && {readme_packages()} -q")
                must(root, "git clone --quiet /srv/qbdcheck.git qbdcheck")
                must(root, f"cd qbdcheck && {shlex.join(options.argv)}")
    except CannotMakeRootError as reason:
        print(f"not run: {reason}")
        return 2 if options.command == "run" else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
