#include <stddef.h>

#include "router/cmd.h"

const struct command router_commands[] = {
	{"write", "REPO/PATH < content",
	 "replace a file's content through its repository's backend",
	 "Replaces (or makes) the file with what standard input holds: routed, in the write turn, "
	 "and\n"
	 "audited, as a write through the mount is, but without a mount. Standard input is read to "
	 "its\n"
	 "end before the turn is taken. Exit 124 when the turn was not free within "
	 "lock_timeout_ms.\n\n"
	 "    echo v2 | rrm write web/VERSION",
	 cmd_write},
	{"rm", "REPO/PATH", "remove a file through its repository's backend",
	 "Removes one file: routed, in the write turn, and audited, without a mount. What is "
	 "removed\n"
	 "is kept for rrm undo. Exit 124 when the turn was not free within lock_timeout_ms.",
	 cmd_rm},
	{"undo", "[--force] REPO SEQ", "put back what a foreign change replaced or removed",
	 "Undoes record SEQ of the audit (the number behind # in rrm log): content, mode, owner, "
	 "times and\n"
	 "name become what they were, by changes that are routed and audited themselves, so that "
	 "an "
	 "undo can\n"
	 "be undone. Refused when something changed since; --force loses that. How much is kept: "
	 "undo_keep_mib\n"
	 "and undo_keep_days in config.json.\n\n"
	 "    rrm log web -n 5; rrm undo web 42",
	 cmd_undo},
	{"lock", "[--branch B | --all] [--timeout S] REPO -- CMD...",
	 "run CMD holding a repository's write turn",
	 "Waits for the write turn of REPO (of its present branch, of --branch B, or of --all "
	 "branches),\n"
	 "runs CMD, and gives the turn back when CMD ends. What CMD and its children write there, "
	 "through "
	 "the\n"
	 "mount or by rrm write, needs no turn of its own; RRM_TURN in its environment lists the "
	 "repositories "
	 "of\n"
	 "all locks above it. Locks may stand inside one another: take them in one order "
	 "everywhere. Two "
	 "that\n"
	 "would wait for each other for ever do not: the last one fails at once and says who has "
	 "what.\n"
	 "Exit: that of CMD; 124 when the turn was not free within --timeout seconds (default\n"
	 "lock_timeout_ms).\n\n"
	 "    rrm lock web -- git rebase main",
	 cmd_lock},
	{"whoami", "[--json] [PID]", "which repository a process is at home in, and why",
	 "Home repository and session of process PID (default: of this command, which has those of "
	 "the\n"
	 "shell that calls it), and the rule that says so: 1 registered (a backend, rrm run), 2 "
	 "the\n"
	 "topmost ancestor that works in the mount, 3 none.",
	 cmd_whoami},
	{NULL, NULL, NULL, NULL, NULL},
};
