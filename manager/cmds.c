#include "manager/cmd.h"

#include <stddef.h>

#define REPO_HELP                                                                                  \
	"REPO is a path (outside or inside the mount, any depth below the root), a mount name, "   \
	"or a\n"                                                                                   \
	"repo_id.\n"
#define REPO_DEFAULT "REPO defaults to the repository of the working directory.\n"

const struct command manager_commands[] = {
	{"add", "[--name NAME] [--force] PATH...", "register repositories",
	 "Registers each PATH, a git work tree, and prints \"repo_id name root\". A running mount "
	 "shows it at\n"
	 "once. What is registered already is fine.\n\n"
	 "  --name NAME  the name in the mount (default: the directory's name, with -2, -3, ... "
	 "when it\n"
	 "               is taken)\n"
	 "  --force      also a directory without .git\n",
	 cmd_add},
	{"remove", "REPO...", "unregister repositories",
	 "Stops the backend and takes the repository out of the list and the mount. Its files are "
	 "not\n"
	 "touched. Its audit log and undo copies stay until rrm gc clears them, 30 days "
	 "later.\n\n" REPO_HELP,
	 cmd_remove},
	{"scan", "[--depth N] DIR", "register every git work tree below a directory",
	 "Registers DIR itself or every git work tree below it, with the submodules that those "
	 "name, and\n"
	 "prints the new ones. Hidden directories and symlinks are passed by.\n\n"
	 "  --depth N  how deep to look, 1 is DIR's own entries (default 3)\n",
	 cmd_scan},
	{"list", "[--json]", "the registered repositories: repo_id, name, branch, root",
	 "One line a repository. With --json an array of {repo_id, name, root, branch, added}; "
	 "bytes that\n"
	 "are not UTF-8 are in name_hex and root_hex.\n",
	 cmd_list},
	{"ensure", "[--json] REPO", "start the backend of a repository unless a healthy one runs",
	 "Prints the URL of the backend, or with --json {repo_id, name, root, url, pid, backend, "
	 "version,\n"
	 "state, username, password_file, directory}.\n\n" REPO_HELP,
	 cmd_ensure},
	{"status", "[--json] [REPO]", "backends, write turns, last writes",
	 "Per repository: state (stopped, starting, ready, failed), pid, url, uptime, memory of "
	 "the whole\n"
	 "process tree, branch, who holds the write turn and who waits, the last write, the last "
	 "error.\n"
	 "With --json an array, one object a repository.\n\n" REPO_HELP
	 "Without REPO: all of them.\n",
	 cmd_status},
	{"top", "[-b] [-n N] [-d SECONDS] [--sort KEY] [--reverse]", "live table of the backends",
	 "Memory (PSS of the process tree), processor use, uptime, sessions at work, who has the "
	 "write turn and\n"
	 "how many wait for it, writes of other repositories' sessions in the last minute. Keys "
	 "stop, restart\n"
	 "and attach to a backend and follow its log; h lists them. Where there is no terminal, or "
	 "a dumb one,\n"
	 "the table is printed once.\n\n"
	 "  -b, --batch      print the table every SECONDS instead of showing it live\n"
	 "  -n, --times N    print it N times, then end\n"
	 "  -d, --delay SECONDS\n"
	 "                   time between two looks (default 2)\n"
	 "  -o, --sort KEY   memory (default), cpu, name, uptime, sessions or writes\n"
	 "  -r, --reverse    the other way round\n",
	 cmd_top},
	{"stop", "[--if-idle[=SECONDS]] REPO... | --all", "stop backends",
	 "TERM to the whole process group, KILL after 5 s; no child survives. Not running is "
	 "success.\n\n"
	 "  --if-idle[=SECONDS]  only one that nobody is connected to, whose sessions are not at "
	 "work "
	 "and that\n"
	 "                       was not used for SECONDS (default 2); exit 3 with the reason when "
	 "it "
	 "is in use\n\n" REPO_HELP,
	 cmd_stop},
	{"restart", "[--if-dead | --if-quiet[=REASON]] REPO",
	 "stop a backend and start it on the same port",
	 "An attached terminal reconnects by itself.\n\n"
	 "  --if-dead            only one that ended without having been stopped; after 0, 1, 2, 4 "
	 "s, "
	 "and not\n"
	 "                       after the third time within a minute\n"
	 "  --if-quiet[=REASON]  only one whose sessions are not at work, else exit 3; rrm status "
	 "shows REASON\n\n" REPO_HELP,
	 cmd_restart},
	{"attach", "[REPO] [-- ARGS]",
	 "OpenCode's terminal interface on the backend of a repository",
	 "Ensures the backend and becomes `opencode attach` to it, in the repository's place in "
	 "the mount\n"
	 "(in the real directory when nothing is mounted). ARGS are more arguments of opencode "
	 "attach, such as\n"
	 "--continue. When the backend crashes it is started again, and the terminal goes on. "
	 "Exits "
	 "as the\n"
	 "terminal interface does.\n\n" REPO_HELP REPO_DEFAULT,
	 cmd_attach},
	{"env", "[REPO]", "print export lines for scripts and SDK programs",
	 "Ensures the backend and prints export lines for RRM_REPO (the name), RRM_REPO_ID, "
	 "RRM_ROOT,\n"
	 "RRM_DIRECTORY (its place in the mount when that is up, else the root), RRM_URL,\n"
	 "OPENCODE_SERVER_USERNAME and OPENCODE_SERVER_PASSWORD:\n\n"
	 "  eval \"$(rrm env web)\"\n\n" REPO_HELP REPO_DEFAULT,
	 cmd_env},
	{"run", "[REPO] -- CMD...", "run a command at home in a repository",
	 "Runs CMD in the repository inside the mount (in the real directory when nothing is "
	 "mounted). It and\n"
	 "its children are at home there: their writes into other repositories are foreign. "
	 "Signals are\n"
	 "passed on. Exits as CMD does, 128 + the number of the signal that ended it, 127 when it "
	 "is not\n"
	 "found, 126 when it cannot be executed.\n\n" REPO_HELP REPO_DEFAULT,
	 cmd_run},
	{"log",
	 "[-n N] [-f] [--since T] [--until T] [--path GLOB] [--from REPO] [--result R] [--stat] "
	 "[--diff] [--json] [--verify] [REPO]",
	 "the audit of foreign writes",
	 "Prints who wrote what into the repository, oldest first; through a pager ($RRM_PAGER, "
	 "$PAGER, less)\n"
	 "on a terminal. Writes through the mount that never reached its gateway, because the turn "
	 "did not come\n"
	 "or the policy forbids them, stand between, marked refused, with the reason; the last "
	 "thousands of them\n"
	 "are kept. A damaged line is passed by and said.\n\n"
	 "  -n, --lines N  only the last N\n"
	 "  -f, --follow   wait for more, until interrupted (begins with the last 10 unless -n "
	 "says)\n"
	 "  --since T      2026-11-22, 2026-11-22T17:40:00Z, or how long ago: 90s, 10m, 2h, 3d\n"
	 "  --until T      the same, for the end\n"
	 "  --path GLOB    only paths that match, '*' also matches slashes\n"
	 "  --from REPO    only writers at home in REPO; \"none\" for those with no home\n"
	 "  --result R     only those that ended so: ok, refused, interrupted, EACCES, ...; "
	 "\"failed\" for all but ok\n"
	 "  --stat         sums per repository and writer instead\n"
	 "  --diff         below each record what it changed, as diff -u shows it\n"
	 "  --json         the records as one array; with -f one object a line\n"
	 "  --verify       check the chain of hashes instead; exit 3 names the first bad "
	 "line\n\n" REPO_HELP
	 "REPO defaults to the repository of the working directory, else to all of them.\n",
	 cmd_log},
	{"blame", "[--json] PATH",
	 "who last wrote each file that another repository's session wrote",
	 "PATH is a file or a directory, as REPO/PATH or any path of a registered repository. For "
	 "each file below\n"
	 "it that a foreign write made what it is: when, the number of the record (rrm undo, rrm "
	 "log), what was\n"
	 "done, by whom, and whether the file is still as written. Changes of mode, owner, times "
	 "and attributes\n"
	 "do not count, nor do writes at home.\n\n"
	 "  --json  an array of {path, state, seq, ts, op, actor}\n",
	 cmd_blame},
	{"report", "[-o FILE] [--since T]",
	 "a page of HTML about memory, writes, waits and failures",
	 "One self-contained page, without scripts and without anything from elsewhere: the memory "
	 "of each backend\n"
	 "over time, a matrix of the writes between repositories, writers with their waits and "
	 "refusals, and the\n"
	 "last writes that failed.\n\n"
	 "  -o, --output FILE  replace FILE (default: standard output)\n"
	 "  --since T          how far back: 2026-11-22, or 12h, 30d (default 7d)\n",
	 cmd_report},
	{"gc", "[--purge] [--json]", "clear what nobody needs any more",
	 "Clears registry entries and sockets of backends that are gone, sessions of processes "
	 "that are gone,\n"
	 "the entry of a mount that is gone, logs older than 30 days, and the state directories "
	 "of\n"
	 "repositories that were removed 30 days ago. The audit of a registered repository is "
	 "kept\n"
	 "as audit_keep_mib and audit_keep_days say, not cleared here.\n\n"
	 "  --purge  state directories of removed repositories at once, with their audit and undo "
	 "copies\n"
	 "  --json   {\"done\": [{what, path, why}]}\n",
	 cmd_gc},
	{"doctor", "[--json]",
	 "look for what makes OpenCodes on this machine get in each other's way",
	 "Looks at running OpenCode processes (shared directories and databases, ports, who "
	 "started "
	 "them, who can\n"
	 "reach them), at databases with sessions of several branches, at limits of open files and "
	 "inotify, at\n"
	 "stale entries and dead mounts, and says for each finding what, where, why it hurts and "
	 "what to do.\n"
	 "Changes nothing. Exit 3 when there is a problem; notes alone are none. Run as root it "
	 "sees "
	 "all users.\n\n"
	 "  --json  {ok, problems, findings: [{kind, level, what, where: {pids, paths}, why, "
	 "fix}]}\n",
	 cmd_doctor},
	{"harden", "[--apply | --undo] [--root DIR]", "limits that many backends at once need",
	 "Shows files for sysctl.d, limits.d and systemd with at least 65535 open files, 1048576 "
	 "inotify watches and\n"
	 "8192 instances; nothing that the machine has now is lowered.\n\n"
	 "  --apply     write them, as root; the inotify limits hold at once, those of open files "
	 "from "
	 "the next login\n"
	 "  --undo      remove them again, and put the inotify limits back\n"
	 "  --root DIR  in DIR instead of /, and nothing but files: for packages and images\n",
	 cmd_harden},
	{"login", "enable [--profile] | disable | status", "rrm-mount at each login",
	 "enable has the systemd of this user mount at each login, now too, and again when the "
	 "mount "
	 "fails; PATH and\n"
	 "what else of this shell's environment it needs is noted beside the unit (run it again "
	 "when "
	 "PATH changes).\n"
	 "Where no systemd of the user answers, a line in the shell's profile does it. disable "
	 "takes "
	 "both back; a\n"
	 "mount that is up stays. status says what is enabled; exit 1 when nothing is. For a user "
	 "without a session,\n"
	 "as root: systemctl enable --now rrm-mount@USER.\n\n"
	 "  --profile  the line in the profile, also where there is a systemd\n",
	 cmd_login},
	{"adopt", "[-y] [--from FILE] [REPO...]",
	 "give each repository its sessions out of a shared OpenCode database",
	 "Shows whose sessions are in your own OpenCode's database "
	 "(~/.local/share/opencode/opencode.db), asks, and\n"
	 "copies each registered repository's share, with its messages, into the database of its "
	 "backend. The old\n"
	 "one is not changed. Refused while an OpenCode has one of them open. Doing it again adds "
	 "what "
	 "is new; with a\n"
	 "mount up the sessions are where agents in the mount see them.\n\n"
	 "  -y, --yes    do not ask\n"
	 "  --from FILE  another database\n\n" REPO_HELP "Without REPO: all that are registered.\n",
	 cmd_adopt},
	{"shim", "install [DIR] | remove [DIR]", "an `opencode` command that goes through rrm",
	 "install puts a script called opencode into DIR (default ~/.local/bin), which must come "
	 "before the\n"
	 "real one on PATH. In a registered repository it then uses the one backend of that:\n\n"
	 "  opencode [PROJECT]    rrm attach\n"
	 "  opencode run ...      the real one with --attach\n"
	 "  opencode serve ...    listens, prints OpenCode's ready line and passes everything on "
	 "to "
	 "the\n"
	 "                        backend, for this user only; ending it leaves the backend: what "
	 "the SDK's\n"
	 "                        createOpencode() starts\n\n"
	 "Everything else, and everything elsewhere, goes to the real program. remove takes the "
	 "script away.\n"
	 "Neither touches a file that is not rrm's.\n",
	 cmd_shim},
	{NULL, NULL, NULL, NULL, NULL},
};
