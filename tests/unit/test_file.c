#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"

static int count_entries(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *d = fdopendir(fd);
	assert_non_null(d);
	int n = -2; /* . and .. */
	while (readdir(d))
		n++;
	return n;
}

static void put(int dirfd, const char *name, const char *text)
{
	assert_int_equal(file_replace(dirfd, name, text, strlen(text), 0644), 0);
}

static void holds(int dirfd, const char *name, const char *text)
{
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;
	assert_int_equal(file_read(dirfd, name, 1 << 20, &data, &len), 0);
	assert_string_equal(data, text);
	assert_int_equal(len, strlen(text));
}

static struct rlimit limit_file_size(rlim_t bytes)
{
	struct rlimit old;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	struct rlimit new = {.rlim_cur = bytes, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &new), 0);
	signal(SIGXFSZ, SIG_IGN);
	return old;
}

static void a_file_is_read_whole(void **state)
{
	struct tmp *t = *state;
	put(t->dir, "f", "hello");
	holds(t->dir, "f", "hello");
	put(t->dir, "empty", "");
	holds(t->dir, "empty", "");
}

static void the_size_bound_is_exact(void **state)
{
	struct tmp *t = *state;
	char *data = NULL;
	size_t len = 1;
	put(t->dir, "f", "12345");
	assert_int_equal(file_read(t->dir, "f", 4, &data, &len), -EFBIG);
	assert_null(data);
	assert_int_equal(len, 0);
	assert_int_equal(file_read(t->dir, "f", 5, &data, &len), 0);
	free(data);
	assert_int_equal(file_read(AT_FDCWD, "/dev/zero", 100000, &data, &len), -EFBIG);
}

static void a_file_of_proc_that_says_size_0_is_read(void **state)
{
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", 1 << 20, &data, &len), 0);
	assert_true(len > 100);
	assert_int_equal(strlen(data), len);
}

static void what_is_no_file_is_an_error_and_never_hangs(void **state)
{
	struct tmp *t = *state;
	char *data = NULL;
	size_t len;
	assert_int_equal(file_read(t->dir, "none", 10, &data, &len), -ENOENT);
	assert_int_equal(file_read(t->dir, ".", 10, &data, &len), -EISDIR);
	assert_int_equal(mkfifoat(t->dir, "fifo", 0600), 0);
	assert_int_equal(file_read(t->dir, "fifo", 10, &data, &len), 0);
	assert_int_equal(len, 0);
	free(data);
	assert_int_equal(file_append(t->dir, "fifo", "x", 1, 0600), -ENXIO);
}

static void replacing_sets_content_and_mode_and_leaves_nothing_else(void **state)
{
	struct tmp *t = *state;
	mode_t old = umask(077);
	put(t->dir, "f", "first");
	umask(old);
	struct stat st;
	assert_int_equal(fstatat(t->dir, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(file_replace(t->dir, "f", "second", 6, 0600), 0);
	assert_int_equal(fstatat(t->dir, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	holds(t->dir, "f", "second");
	assert_int_equal(count_entries(t->dir), 1);
}

static void replacing_works_by_path_and_with_the_longest_name(void **state)
{
	struct tmp *t = *state;
	char name[NAME_MAX + 1];
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	put(t->dir, name, "long");
	holds(t->dir, name, "long");
	assert_int_equal(mkdirat(t->dir, "d", 0700), 0);
	put(t->dir, "d/f", "deep");
	holds(t->dir, "d/f", "deep");
	char path[64];
	snprintf(path, sizeof(path), "%s/abs", t->path);
	put(AT_FDCWD, path, "abs");
	holds(t->dir, "abs", "abs");
	assert_int_equal(file_replace(t->dir, "no/f", "x", 1, 0600), -ENOENT);
	assert_int_equal(file_replace(t->dir, "d/", "x", 1, 0600), -EISDIR);
	assert_int_equal(file_replace(t->dir, "d", "x", 1, 0600), -EISDIR);
	assert_int_equal(count_entries(t->dir), 3);
}

static void replacing_replaces_a_link_not_its_target(void **state)
{
	struct tmp *t = *state;
	put(t->dir, "target", "untouched");
	assert_int_equal(symlinkat("target", t->dir, "link"), 0);
	put(t->dir, "link", "new");
	holds(t->dir, "target", "untouched");
	holds(t->dir, "link", "new");
}

static void a_failed_replace_keeps_the_old_file_and_leaves_no_other(void **state)
{
	struct tmp *t = *state;
	static char big[64 * 1024];
	put(t->dir, "f", "old");
	struct rlimit old = limit_file_size(4096);
	int r = file_replace(t->dir, "f", big, sizeof(big), 0600);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(r, -EFBIG);
	holds(t->dir, "f", "old");
	assert_int_equal(count_entries(t->dir), 1);
}

struct race {
	int dir;
	atomic_bool stop;
	atomic_int bad, reads;
};

static void *replace_often(void *arg)
{
	struct race *race = arg;
	char text[5000];
	for (int i = 0; i < 50; i++) {
		memset(text, 'a' + i % 26, sizeof(text));
		if (file_replace(race->dir, "f", text, sizeof(text), 0600) < 0)
			race->bad++;
	}
	return NULL;
}

static void *read_often(void *arg)
{
	struct race *race = arg;
	while (!race->stop) {
		CLEANUP(freep) char *data = NULL;
		size_t len;
		if (file_read(race->dir, "f", 10000, &data, &len) < 0 || len != 5000 ||
		    memcmp(data, data + 1, len - 1) != 0)
			race->bad++;
		race->reads++;
	}
	return NULL;
}

static void a_reader_never_sees_a_mix_of_two_writers(void **state)
{
	struct tmp *t = *state;
	struct race race = {.dir = t->dir};
	replace_often(&race);
	pthread_t writers[3];
	pthread_t reader;
	assert_int_equal(pthread_create(&reader, NULL, read_often, &race), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, replace_often, &race), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(writers[i], NULL);
	race.stop = true;
	pthread_join(reader, NULL);
	assert_int_equal(race.bad, 0);
	assert_int_equal(count_entries(t->dir), 1);
}

static void appending_adds_at_the_end(void **state)
{
	struct tmp *t = *state;
	assert_int_equal(file_append(t->dir, "log", "a\n", 2, 0600), 0);
	assert_int_equal(file_append(t->dir, "log", "b\n", 2, 0600), 0);
	holds(t->dir, "log", "a\nb\n");
	assert_int_equal(file_append(AT_FDCWD, "/dev/full", "x", 1, 0600), -ENOSPC);
}

static void a_record_that_does_not_fit_leaves_no_half(void **state)
{
	struct tmp *t = *state;
	char record[3000];
	memset(record, 'r', sizeof(record));
	assert_int_equal(file_append(t->dir, "log", record, sizeof(record), 0600), 0);
	struct rlimit old = limit_file_size(4096);
	int r = file_append(t->dir, "log", record, sizeof(record), 0600);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(r, -EFBIG);
	struct stat st;
	assert_int_equal(fstatat(t->dir, "log", &st, 0), 0);
	assert_int_equal(st.st_size, sizeof(record));
}

static void directories_are_made_down_to_the_last(void **state)
{
	struct tmp *t = *state;
	char path[128];
	struct stat st;
	snprintf(path, sizeof(path), "%s/a//b/c/", t->path);
	assert_int_equal(file_mkdirs(path, 0700), 0);
	assert_int_equal(file_mkdirs(path, 0755), 0);
	assert_int_equal(fstatat(t->dir, "a/b/c", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(file_mkdirs("/", 0700), 0);
	assert_int_equal(file_mkdirs("", 0700), -ENOENT);
}

static void something_else_in_the_way_of_a_directory_is_said(void **state)
{
	struct tmp *t = *state;
	char path[128];
	put(t->dir, "f", "x");
	snprintf(path, sizeof(path), "%s/f", t->path);
	assert_int_equal(file_mkdirs(path, 0700), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/f/g", t->path);
	assert_int_equal(file_mkdirs(path, 0700), -ENOTDIR);
	assert_int_equal(symlinkat("nowhere", t->dir, "dangling"), 0);
	snprintf(path, sizeof(path), "%s/dangling", t->path);
	assert_int_equal(file_mkdirs(path, 0700), -ENOTDIR);
	assert_int_equal(mkdirat(t->dir, "d", 0700), 0);
	assert_int_equal(symlinkat("d", t->dir, "link"), 0);
	snprintf(path, sizeof(path), "%s/link/sub", t->path);
	assert_int_equal(file_mkdirs(path, 0700), 0);
	assert_int_equal(faccessat(t->dir, "d/sub", F_OK, 0), 0);
}

static void a_tree_is_removed_and_links_out_of_it_are_not_followed(void **state)
{
	struct tmp *t = *state;
	assert_int_equal(mkdirat(t->dir, "keep", 0700), 0);
	put(t->dir, "keep/f", "x");
	assert_int_equal(mkdirat(t->dir, "tree", 0700), 0);
	assert_int_equal(mkdirat(t->dir, "tree/a", 0700), 0);
	assert_int_equal(mkdirat(t->dir, "tree/a/b", 0700), 0);
	assert_int_equal(mkdirat(t->dir, "tree/a/b/c", 0700), 0);
	put(t->dir, "tree/a/b/c/f", "x");
	put(t->dir, "tree/.rrm-rm-0", "in the way");
	assert_int_equal(symlinkat("../keep", t->dir, "tree/link"), 0);
	assert_int_equal(symlinkat("../../../keep", t->dir, "tree/a/b/link"), 0);
	assert_int_equal(mkfifoat(t->dir, "tree/a/fifo", 0600), 0);
	assert_int_equal(file_remove_tree(t->dir, "tree"), 0);
	assert_int_equal(faccessat(t->dir, "tree", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	holds(t->dir, "keep/f", "x");
	assert_int_equal(count_entries(t->dir), 1);
}

static void removing_a_link_a_file_or_nothing_is_success(void **state)
{
	struct tmp *t = *state;
	assert_int_equal(mkdirat(t->dir, "d", 0700), 0);
	put(t->dir, "d/f", "x");
	assert_int_equal(symlinkat("d", t->dir, "link"), 0);
	assert_int_equal(file_remove_tree(t->dir, "link"), 0);
	assert_int_equal(file_remove_tree(t->dir, "none"), 0);
	assert_int_equal(file_remove_tree(t->dir, "d/f"), 0);
	assert_int_equal(faccessat(t->dir, "d", F_OK, 0), 0);
	assert_int_equal(count_entries(t->dir), 1);
	assert_int_equal(file_remove_tree(t->dir, "d/.."), -EINVAL);
}

static void a_tree_deeper_than_there_are_descriptors_is_removed(void **state)
{
	struct tmp *t = *state;
	assert_int_equal(mkdirat(t->dir, "deep", 0700), 0);
	CLEANUP(closep) int fd = openat(t->dir, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1500; i++) {
		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	struct rlimit old;
	getrlimit(RLIMIT_NOFILE, &old);
	struct rlimit few = {.rlim_cur = 32, .rlim_max = old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &few);
	int r = file_remove_tree(t->dir, "deep");
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(r, 0);
	assert_int_equal(count_entries(t->dir), 0);
}

static void directories_without_write_permission_are_removed_by_their_owner(void **state)
{
	struct tmp *t = *state;
	assert_int_equal(mkdirat(t->dir, "d", 0755), 0);
	assert_int_equal(mkdirat(t->dir, "d/ro", 0755), 0);
	assert_int_equal(mkdirat(t->dir, "d/ro/sub", 0755), 0);
	put(t->dir, "d/ro/f", "x");
	put(t->dir, "d/ro/sub/f", "x");
	bool root = geteuid() == 0;
	const char *names[] = {"d/ro/sub", "d/ro", "d"};
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fchmodat(t->dir, names[i], 0500, 0), 0);
		if (root)
			assert_int_equal(fchownat(t->dir, names[i], 65534, 65534, 0), 0);
	}
	if (root) {
		assert_int_equal(fchown(t->dir, 65534, 65534), 0);
		assert_int_equal(seteuid(65534), 0);
	}
	int r = file_remove_tree(t->dir, "d");
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, 0);
	assert_int_equal(count_entries(t->dir), 0);
}

static void a_mount_in_the_tree_stops_the_removal(void **state)
{
	struct tmp *t = *state;
	if (geteuid() != 0)
		skip();
	char path[64];
	char other[64];
	snprintf(path, sizeof(path), "%s/tree/m", t->path);
	snprintf(other, sizeof(other), "%s/other", t->path);
	assert_int_equal(mkdirat(t->dir, "tree", 0700), 0);
	assert_int_equal(mkdirat(t->dir, "tree/m", 0700), 0);
	assert_int_equal(mkdirat(t->dir, "other", 0700), 0);
	put(t->dir, "other/f", "precious");
	if (mount(other, path, NULL, MS_BIND, NULL) < 0)
		skip();
	int r = file_remove_tree(t->dir, "tree");
	int u = umount2(path, MNT_DETACH);
	assert_int_equal(u, 0);
	assert_true(r == -EBUSY || r == -EXDEV);
	holds(t->dir, "other/f", "precious");
}

static void a_damaged_file_moves_to_the_first_free_name(void **state)
{
	struct tmp *t = *state;
	char moved[NAME_MAX + 1];
	put(t->dir, "r.json", "1");
	assert_int_equal(file_move_aside(t->dir, "r.json", moved), 0);
	assert_string_equal(moved, "r.json.corrupt-1");
	put(t->dir, "r.json", "2");
	assert_int_equal(file_move_aside(t->dir, "r.json", moved), 0);
	assert_string_equal(moved, "r.json.corrupt-2");
	holds(t->dir, "r.json.corrupt-1", "1");
	holds(t->dir, "r.json.corrupt-2", "2");
	assert_int_equal(file_move_aside(t->dir, "r.json", NULL), -ENOENT);
}

static void a_damaged_file_with_the_longest_name_moves_too(void **state)
{
	struct tmp *t = *state;
	char name[NAME_MAX + 1];
	char moved[NAME_MAX + 1];
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	put(t->dir, name, "x");
	assert_int_equal(file_move_aside(t->dir, name, moved), 0);
	assert_int_equal(strlen(moved), NAME_MAX);
	holds(t->dir, moved, "x");
	assert_int_equal(count_entries(t->dir), 1);
}

static void whole_buffers_go_through_a_slow_pipe(void **state)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	char out[100];
	size_t got;
	assert_int_equal(file_write_all(fds[1], "abc", 3), 0);
	close(fds[1]);
	assert_int_equal(file_read_full(fds[0], out, sizeof(out), &got), 0);
	assert_int_equal(got, 3);
	close(fds[0]);
	assert_int_equal(file_read_full(fds[0], out, sizeof(out), &got), -EBADF);
}

static void writing_at_an_offset_leaves_a_hole(void **state)
{
	struct tmp *t = *state;
	CLEANUP(closep) int fd = openat(t->dir, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_pwrite_all(fd, "xy", 2, 10), 0);
	char out[20];
	size_t got;
	assert_int_equal(file_read_full(fd, out, sizeof(out), &got), 0);
	assert_int_equal(got, 12);
	assert_memory_equal(out, "\0\0\0\0\0\0\0\0\0\0xy", 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(a_file_is_read_whole),
		tmp_test(the_size_bound_is_exact),
		cmocka_unit_test(a_file_of_proc_that_says_size_0_is_read),
		tmp_test(what_is_no_file_is_an_error_and_never_hangs),
		tmp_test(replacing_sets_content_and_mode_and_leaves_nothing_else),
		tmp_test(replacing_works_by_path_and_with_the_longest_name),
		tmp_test(replacing_replaces_a_link_not_its_target),
		tmp_test(a_failed_replace_keeps_the_old_file_and_leaves_no_other),
		tmp_test(a_reader_never_sees_a_mix_of_two_writers),
		tmp_test(appending_adds_at_the_end),
		tmp_test(a_record_that_does_not_fit_leaves_no_half),
		tmp_test(directories_are_made_down_to_the_last),
		tmp_test(something_else_in_the_way_of_a_directory_is_said),
		tmp_test(a_tree_is_removed_and_links_out_of_it_are_not_followed),
		tmp_test(removing_a_link_a_file_or_nothing_is_success),
		tmp_test(a_tree_deeper_than_there_are_descriptors_is_removed),
		tmp_test(directories_without_write_permission_are_removed_by_their_owner),
		tmp_test(a_mount_in_the_tree_stops_the_removal),
		tmp_test(a_damaged_file_moves_to_the_first_free_name),
		tmp_test(a_damaged_file_with_the_longest_name_moves_too),
		cmocka_unit_test(whole_buffers_go_through_a_slow_pipe),
		tmp_test(writing_at_an_offset_leaves_a_hole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
