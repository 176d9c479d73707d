"""The subcommands, and the help of each: ``./check COMMAND --help``. Standard library only.

Subcommands on saved runs, ``inspect`` and ``perf`` make theirs from their own parsers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from qbdcheck.files import COMMAND

ON_SAVED_RUNS = ("diff", "history", "merge", "durations", "verify-certificate")
NAMED_COMMANDS = ("new", "rules", "completion", "inspect", *ON_SAVED_RUNS)
"""Subcommands without a dash that take all arguments after them."""
WITH_FLAGS = ("replay", "fio", "runtest", "certify", "perf")
"""Subcommands without a dash that take the flags of a run, too."""
COMMANDS = (*NAMED_COMMANDS, *WITH_FLAGS)
WORDS = ("-h", "--help")
EPILOG = """\
selection: 17, 001-100, 12-, or a name; default: the group quick; -l lists all
subcommands: new SUITE "SENTENCE"; rules check|explain|convert FILE;
  replay FILE; inspect FILE [--log LOG] [--html PAGE]; fio FILE [SIZE];
  runtest FILE|GROUP... [SIZE]; --doctor; --install; --probe FILE;
  --mutants [ID...]; -- COMMAND; certify [CASE...]; perf [faults|growth]
on saved runs: diff RUN [RUN]; history [CASE]; merge RUN...; durations RUN...;
  verify-certificate FILE
help of one: COMMAND --help; --mutants --help
for the shell: completion bash|zsh
exit code: 0 all passed; 1 a case failed; 2 wrong usage, set-up error or no
  case run; 130 interrupted
"""
_TEXTS = {
    "new": """\
usage: ./check new SUITE "what it proves"

Write the skeleton of a case, with the next free number of the suite, and print
its path. Suites: iotests blkverify blkdebug network crash model guest perf
libvirt cluster driver.

example:
  ./check new blkdebug "the third write fails with ENOSPC"
""",
    "rules": """\
usage: ./check rules check FILE...
       ./check rules explain FILE
       ./check rules convert FILE --to FORM [--image NODE]
       ./check rules schema

Work on files of rules, the language of faults (docs/rules.md). A FILE may have
any of the forms below; its contents decide, not its name. - is standard input.

  check      report errors with line and key
  explain    describe in words what the rules do
  convert    write the rules in another form: blkdebug-conf, blockdev-json (with
             --image, the node below blkdebug), nbdkit or yaml
  schema     print the JSON Schema for editors

examples:
  ./check rules explain faults.yaml
  ./check rules convert faults.yaml --to blkdebug-conf
""",
    "completion": """\
usage: ./check completion bash|zsh

Print a completion script for the shell. It completes flags, their values,
subcommands, cases, groups, targets and files.

examples:
  eval "$(./check completion bash)"       in ~/.bashrc, or in a shell
  ./check completion zsh > ~/.zfunc/_qbdcheck
""",
    "replay": """\
usage: ./check replay FILE [-t NAME] [--seed N]

Play a script of operations on a new volume of the target, and name the first
step with a wrong result (docs/models.md). A failed case of 450-499 leaves such
a script. Exit code: 0 all steps had the right result; 1 a step did not.

example:
  ./check replay repro.yaml -t mine.yaml
""",
    "fio": """\
usage: ./check fio FILE [SIZE] [-t NAME] [--json FILE]

Run a job file of fio in a guest whose disk (/dev/vdb) is a new volume of the
target, and print a verdict. SIZE is the size of the volume; default: 64M. If
the job file names several disks, each is a volume of this size.

Further flags: those of guests in ./check --help, such as --observe iostat.

example:
  ./check fio randrw-verify.fio 256M -t mine.yaml
""",
    "runtest": """\
usage: ./check runtest FILE|GROUP... [SIZE] [-t NAME] [--json FILE]

Run tests in LTP's format in a guest on the target's volumes. GROUP is a file in
the LTP tree of --ltp; without --ltp it is a file in suites/guest/runtest. SIZE
is the size of the volume of each file system; default: 1200M.

  --ltp PATH          an installed LTP: a directory or a tar file
  --only-tests A,B    run only these tests: dio0*,aio01
  --skip-tests FILE   do not run the tests that FILE lists
  --soak TIME         repeat the tests for this time: 90s, 30m, 24h
  --kirk              use LTP's own runner kirk

example:
  ./check runtest dio --ltp /opt/ltp -t mine.yaml
""",
    "certify": """\
usage: ./check certify [-t NAME] [--key FILE] [--soak TIME] [CASE...]
       ./check certify --compare A.json B.json

Run the cases that the target's capabilities allow, and write a signed statement
on the results: certificate-NAME-DATE.json, and the same as a page (.html).
Without a selection all cases run, which takes about an hour.

  --key FILE        the ed25519 key (PEM); default: one of the user's own
  --compare A B     show two certificates as a table

Further flags: those of a run, such as -j N, --baseline FILE and --guest-image.

example:
  ./check certify -t mine.yaml -j2 --soak 2h
""",
    "--doctor": """\
usage: ./check --doctor

Show what is installed, what is missing, and which cases need it. It changes
nothing. Exit code 0 if the quick group can run.

example:
  ./check --doctor
""",
    "--install": """\
usage: ./check --install [--with NAME] [CASE...]

Install what is missing (distribution packages as root or by sudo, Python
packages into .venv), then run the cases. Several minutes on a bare machine. Two
other flags start no case after it: --doctor and --version.

  --with NAME    also install: qbd-driver, iscsi, http, ssh, nfs, rbd, libvirt,
                 or all

examples:
  ./check --install              install, then run the quick group
  ./check --install --doctor     install, then show what there is
""",
    "--tests": """\
usage: ./check --tests [ARGUMENT...]

Run the project's own tests with tox, which gets the arguments.

examples:
  ./check --tests                    everything that CI runs
  ./check --tests -e lint,types      two environments of tox
""",
    "--probe": """\
usage: ./check --probe FILE [--stress]

Verify every claim of a target profile, step by step: create a volume, start,
write, crash, recover, stop; and show the capabilities that were found.

  --stress    also many connections, deep queues and the limits of sizes

example:
  ./check --probe mine.yaml
""",
    "--mutants": """\
usage: ./check --mutants [ID...] [CASE...] [-g A,B] [-j N]

Run the cases against backends with one seeded bug each until one fails, and
print the kill matrix (docs/mutants.md). Without ID all bugs are measured, which
takes hours. --mutants -l lists them.

  --controls            legal oddities, which no case may accuse
  --combinations N      with --controls: N random combinations instead
  --each-suite          run each suite until its first kill
  --knobs K=V:K=V       how often, when and where the bugs occur
  --fingerprints FILE   run all cases on each, and write which fail and how

example:
  ./check --mutants phantom-write 1-50
""",
}


def text_of(topic: str) -> str:
    """Return the help of a subcommand, or "" if `topic` is none that has its text here."""
    return _TEXTS.get(topic, "").replace("./check", COMMAND)


def topic_of(argv: Sequence[str]) -> str:
    """Return the subcommand whose help `argv` asks for; "" if it asks for none, or for all flags.

    :param argv: the arguments before ``--``.
    """
    if not set(WORDS).intersection(argv):
        return ""
    own = [argv[0], *(word for word in argv if word.startswith("--"))]
    after = [word for before, word in pairwise(argv) if not before.startswith("-")]
    return next((word for word in (*own, *after) if word in _TEXTS), "")


def texts() -> Mapping[str, str]:
    """Return the texts of all subcommands, for tests and documents."""
    return {topic: text_of(topic) for topic in _TEXTS}
