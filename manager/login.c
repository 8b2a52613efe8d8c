#include "manager/login.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/program.h"
#include "manager/scope.h"

#define UNIT "rrm-mount.service"

enum { SYSTEMCTL_MS = 60000, PROFILE_MAX = 4 << 20 };

/* ---- systemd ---- */

bool login_has_systemd(void)
{
	return scope_manager();
}

/* `systemctl --user ARGS`; its exit status, or negative errno. What it says goes to stderr unless quiet. */
static int systemctl(const char *verb, const char *option, const char *what, bool quiet)
{
	const char *argv[] = {"systemctl", "--user", "--no-pager", verb, option, what, NULL};
	if (!option) {
		argv[4] = what;
		argv[5] = NULL;
	}
	posix_spawn_file_actions_t fa;
	pid_t pid = 0;
	int status = 0;
	if (posix_spawn_file_actions_init(&fa))
		return -ENOMEM;
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	for (int fd = 1; quiet && fd < 3; fd++)
		posix_spawn_file_actions_addopen(&fa, fd, "/dev/null", O_WRONLY, 0);
	/* posix_spawn takes char *const[] for historical reasons; it does not change the strings. */
	int rc = posix_spawnp(&pid, argv[0], &fa, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (rc)
		return -rc;
	for (uint64_t end = clock_mono_ms() + SYSTEMCTL_MS;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);
		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (clock_mono_ms() >= end)
			break;
		usleep(5000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -ETIMEDOUT;
}

static int must(int rc, const char *words, struct err *e)
{
	if (rc > 0)
		return err_set(e, -EIO,
			       "systemctl --user %s failed; journalctl --user -u " UNIT
			       " says more",
			       words);
	return rc < 0 ? err_errno(e, rc, "running systemctl --user %s", words) : 0;
}

/* The unit that was installed with this program. *path owned. */
static int find_unit(char **mount, char **path, struct err *e)
{
	int rc = program_find("rrm-mount", mount, e);
	if (rc < 0)
		return rc;
	CLEANUP(freep) char *dir = strdup(*mount);
	CLEANUP(freep) char *guess = NULL;
	if (!dir)
		return -ENOMEM;
	*strrchr(dir, '/') = '\0';
	guess = path_join(dir, "../lib/systemd/user/" UNIT);
	if (!guess)
		return -ENOMEM;
	rc = access(guess, R_OK) < 0 ? -errno : path_canonical(guess, path, e);
	return rc < 0 ? err_set(e, rc,
				"the unit " UNIT
				" is not installed beside %s (expected at %s); run "
				"meson install",
				*mount, guess)
		      : 0;
}

/* Where systemd looks by itself. */
static bool in_search_path(const char *unit)
{
	static const char *const dirs[] = {"/usr/lib/systemd", "/lib/systemd",
					   "/usr/local/lib/systemd", "/etc/systemd"};
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (path_below(dirs[i], unit, NULL))
			return true;
	return false;
}

char *login_environment_line(const char *name, const char *value)
{
	char *line = malloc(strlen(name) + 2 * strlen(value) + 32);
	if (!line)
		return NULL;
	size_t n = (size_t)sprintf(line, "Environment=\"%s=", name);
	for (; *value; value++) {
		if (strchr("\"\\", *value))
			line[n++] = '\\';
		else if (*value == '%')
			line[n++] = '%';
		line[n++] = *value;
	}
	strcpy(line + n, "\"\n");
	return line;
}

static int add_variable(FILE *f, const char *name)
{
	const char *value = getenv(name);
	if (!value || !*value || strchr(value, '\n'))
		return 0;
	CLEANUP(freep) char *line = login_environment_line(name, value);
	return line && fputs(line, f) >= 0 ? 0 : -ENOMEM;
}

static int print_drop_in(FILE *f, const char *mount, const char *unit)
{
	static const char *const names[] = {"PATH",           "RRM_HOME",        "RRM_MOUNTPOINT",
					    "RRM_BACKEND",    "XDG_CONFIG_HOME", "XDG_DATA_HOME",
					    "XDG_CACHE_HOME", "XDG_STATE_HOME"};
	CLEANUP(freep) char *text = NULL;
	CLEANUP(freep) char *start = NULL;
	const char *agent = getenv("SSH_AUTH_SOCK"), *run = getenv("XDG_RUNTIME_DIR");
	size_t len;
	int rc = 0;
	fputs("# Made by rrm login enable: the environment of the shell that ran it.\n[Service]\n",
	      f);
	for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		rc = add_variable(f, names[i]);
	/* One that ssh forwards, or an agent of one session, is gone with it. */
	if (rc == 0 && agent && run && path_below(run, agent, NULL))
		rc = add_variable(f, "SSH_AUTH_SOCK");
	/* The installed unit names the place that it was built for. */
	if (rc == 0)
		rc = asprintf(&start, "ExecStart=%s -f\n", mount) < 0 ? -ENOMEM : 0;
	if (rc == 0)
		rc = file_read(AT_FDCWD, unit, 65536, &text, &len);
	if (rc == 0 && !strstr(text, start))
		fprintf(f, "ExecStart=\n%sExecStop=\nExecStop=%s -u\n", start, mount);
	return rc;
}

/* The directory of the drop-in; owned, NULL when out of memory or without a home. */
static char *drop_in_dir(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	if (config && config[0] == '/')
		return path_join(config, "systemd/user/" UNIT ".d");
	return home && home[0] == '/' ? path_join(home, ".config/systemd/user/" UNIT ".d") : NULL;
}

static int write_drop_in(const char *mount, const char *unit, FILE *out, struct err *e)
{
	CLEANUP(freep) char *dir = drop_in_dir();
	CLEANUP(freep) char *text = NULL;
	size_t len = 0;
	if (!dir)
		return err_set(e, -ENOENT, "HOME is not set: it says where your units are");
	FILE *f = open_memstream(&text, &len);
	if (!f)
		return err_errno(e, -errno, "writing the drop-in");
	int rc = print_drop_in(f, mount, unit);
	if (fclose(f) && rc == 0)
		rc = -ENOMEM;
	if (rc == 0)
		rc = file_mkdirs(dir, 0755);
	CLEANUP(closep) int fd = rc ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == 0)
		rc = fd < 0 ? -errno : file_replace(fd, "60-rrm.conf", text, len, 0600);
	if (rc)
		return err_errno(e, rc, "writing %s/60-rrm.conf", dir);
	fprintf(out, "wrote %s/60-rrm.conf (PATH and what else the mount needs of this shell)\n",
		dir);
	return 0;
}

static bool lingers(void)
{
	char path[512];
	const char *user = getenv("USER");
	snprintf(path, sizeof(path), "/var/lib/systemd/linger/%.400s", user ? user : "");
	return user && *user && access(path, F_OK) == 0;
}

int login_enable_systemd(FILE *out, struct err *e)
{
	CLEANUP(freep) char *mount = NULL;
	CLEANUP(freep) char *unit = NULL;
	int rc = find_unit(&mount, &unit, e);
	if (rc == 0)
		rc = write_drop_in(mount, unit, out, e);
	if (rc == 0)
		rc = must(systemctl("daemon-reload", NULL, NULL, false), "daemon-reload", e);
	if (rc == 0)
		rc = must(systemctl("enable", "--quiet", in_search_path(unit) ? UNIT : unit, false),
			  "enable " UNIT, e);
	if (rc == 0)
		rc = must(systemctl("start", NULL, UNIT, false), "start " UNIT, e);
	if (rc < 0)
		return rc;
	fputs(UNIT " is enabled and started\n", out);
	if (!lingers())
		fputs("It ends with your last session; `loginctl enable-linger` keeps it.\n", out);
	return 0;
}

int login_disable_systemd(FILE *out, struct err *e)
{
	CLEANUP(freep) char *dir = drop_in_dir();
	if (!login_systemd_enabled())
		return 0;
	int rc = must(systemctl("disable", "--quiet", UNIT, false), "disable " UNIT, e);
	if (rc == 0 && dir)
		rc = file_remove_tree(AT_FDCWD, dir);
	if (rc < 0)
		return rc;
	systemctl("daemon-reload", NULL, NULL, true);
	fputs(UNIT " is disabled; a mount that is up stays (rrm-mount -u ends it)\n", out);
	return 0;
}

bool login_systemd_enabled(void)
{
	return login_has_systemd() && systemctl("is-enabled", "--quiet", UNIT, true) == 0;
}

/* ---- the profile of the shell ---- */

static char *profile_path(void)
{
	const char *home = getenv("HOME"), *shell = getenv("SHELL");
	const char *config = getenv("XDG_CONFIG_HOME"), *zdot = getenv("ZDOTDIR");
	const char *name = shell ? path_basename(shell) : "sh";
	if (!home || home[0] != '/')
		return NULL;
	if (strcmp(name, "fish") == 0)
		return config && config[0] == '/' ? path_join(config, "fish/conf.d/rrm.fish")
						  : path_join(home, ".config/fish/conf.d/rrm.fish");
	if (strcmp(name, "zsh") == 0)
		return path_join(zdot && zdot[0] == '/' ? zdot : home, ".zprofile");
	/* bash reads the first that is there. */
	static const char *const bash[] = {".bash_profile", ".bash_login"};
	for (size_t i = 0; strcmp(name, "bash") == 0 && i < 2; i++) {
		char *path = path_join(home, bash[i]);
		if (!path || access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return path_join(home, ".profile");
}

/* text without the lines that have our mark; in place. Whether there was one. */
static bool drop_lines(char *text)
{
	char *out = text;
	bool had = false;
	for (char *line = text; *line;) {
		size_t len = strcspn(line, "\n") + 1;
		len -= line[len - 1] == '\0';
		bool ours = memmem(line, len, LOGIN_MARK, strlen(LOGIN_MARK)) != NULL;
		had |= ours;
		char *next = line + len;
		if (!ours) {
			memmove(out, line, len);
			out += len;
		}
		line = next;
	}
	*out = '\0';
	return had;
}

static int read_profile(char **path, char **text, struct err *e)
{
	size_t len;
	*path = profile_path();
	if (!*path)
		return err_set(e, -ENOENT, "HOME is not set: it says where your profile is");
	int rc = file_read(AT_FDCWD, *path, PROFILE_MAX, text, &len);
	if (rc == -ENOENT || rc == -ENOTDIR) {
		*text = strdup("");
		return *text ? 0 : -ENOMEM;
	}
	if (rc == 0 && strlen(*text) != len)
		rc = -EILSEQ;
	return rc ? err_errno(e, rc, "reading %s", *path) : 0;
}

/* The file itself: a link may be one of somebody's dotfiles. */
static int write_profile(const char *path, const char *text, struct err *e)
{
	CLEANUP(freep) char *real = realpath(path, NULL);
	CLEANUP(freep) char *dir = strdup(real ? real : path);
	struct stat st;
	if (!dir)
		return -ENOMEM;
	mode_t mode = stat(dir, &st) == 0 ? st.st_mode & 07777 : 0644;
	char *slash = strrchr(dir, '/');
	*slash = '\0';
	int rc = file_mkdirs(dir, 0755);
	CLEANUP(closep) int fd = rc ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == 0)
		rc = fd < 0 ? -errno : file_replace(fd, slash + 1, text, strlen(text), mode);
	return rc ? err_errno(e, rc, "writing %s", path) : 0;
}

int login_profile(char **path, bool *has_line, struct err *e)
{
	CLEANUP(freep) char *text = NULL;
	int rc = read_profile(path, &text, e);
	*has_line = rc == 0 && drop_lines(text);
	return rc;
}

int login_enable_profile(FILE *out, struct err *e)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(freep) char *text = NULL;
	CLEANUP(freep) char *mount = NULL;
	CLEANUP(freep) char *whole = NULL;
	int rc = program_find("rrm-mount", &mount, e);
	if (rc == 0 && strchr(mount, '\''))
		rc = err_set(e, -EINVAL, "%s has a quote in its path; install rrm elsewhere",
			     mount);
	if (rc == 0)
		rc = read_profile(&path, &text, e);
	if (rc)
		return rc;
	drop_lines(text);
	size_t len = strlen(text);
	if (asprintf(&whole, "%s%stest -x '%s' && '%s' " LOGIN_MARK "\n", text,
		     len && text[len - 1] != '\n' ? "\n" : "", mount, mount) < 0)
		return -ENOMEM;
	rc = write_profile(path, whole, e);
	if (rc == 0)
		fprintf(out, "%s mounts at each login\n", path);
	return rc;
}

int login_disable_profile(FILE *out, struct err *e)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(freep) char *text = NULL;
	int rc = read_profile(&path, &text, e);
	if (rc || !drop_lines(text))
		return rc;
	rc = write_profile(path, text, e);
	if (rc == 0)
		fprintf(out, "took the line out of %s\n", path);
	return rc;
}
