#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/creds.h"

static void what_root_makes_for_somebody_belongs_to_him(void **state)
{
	struct tmp *t = *state;
	if (geteuid() != 0)
		skip();
	/* 0700 and not his: only the capabilities that are kept let him in. */
	assert_int_equal(fchmod(t->dir, 0700), 0);
	struct creds saved;
	creds_become(&saved, 65534, 65533);
	int fd = openat(t->dir, "his", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	creds_restore(&saved);
	assert_true(fd >= 0);
	close(fd);
	fd = openat(t->dir, "mine", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	struct stat st;
	assert_int_equal(fstatat(t->dir, "his", &st, 0), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(st.st_gid, 65533);
	assert_int_equal(fstatat(t->dir, "mine", &st, 0), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, 0);
}

static mode_t after_drop(int fd, mode_t mode, gid_t gid)
{
	struct stat st;
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(creds_drop_suid(fd, &st, getpid(), gid), 0);
	assert_int_equal(fstat(fd, &st), 0);
	return st.st_mode & 07777;
}

static void a_change_by_somebody_takes_the_set_id_bits(void **state)
{
	struct tmp *t = *state;
	if (geteuid() != 0)
		skip();
	CLEANUP(closep) int fd = openat(t->dir, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(fchown(fd, 0, 65000), 0);
	assert_int_equal(after_drop(fd, 04755, 65534), 0755);
	assert_int_equal(after_drop(fd, 06755, 65000), 0755);
	assert_int_equal(after_drop(fd, 02644, 65534), 0644);
	assert_int_equal(after_drop(fd, 02644, 65000), 02644);
	assert_int_equal(after_drop(fd, 01666, 65534), 01666);
}

static void a_new_file_keeps_its_set_group_id_bit(void **state)
{
	struct tmp *t = *state;
	if (geteuid() != 0)
		skip();
	struct creds saved;
	struct stat st;
	assert_int_equal(fchown(t->dir, 0, 65000), 0);
	assert_int_equal(fchmod(t->dir, 02777), 0);
	creds_become(&saved, 65534, 65534);
	CLEANUP(closep) int fd = openat(t->dir, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 02770);
	creds_restore(&saved);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_gid, 65000);
	assert_int_equal(st.st_mode & 07777 & ~022, 02770 & ~022);
}

static void *make_as_root(void *arg)
{
	const struct tmp *t = arg;
	int fd = openat(t->dir, "thread", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void *become_and_make(void *arg)
{
	const struct tmp *t = arg;
	struct creds saved;
	creds_become(&saved, 65534, 65534);
	int fd = openat(t->dir, "other", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return make_as_root(arg); /* ends without having been restored */
}

static void no_other_thread_is_touched(void **state)
{
	struct tmp *t = *state;
	if (geteuid() != 0)
		skip();
	pthread_t th;
	struct stat st;
	assert_int_equal(pthread_create(&th, NULL, become_and_make, t), 0);
	pthread_join(th, NULL);
	assert_int_equal(fstatat(t->dir, "other", &st, 0), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(unlinkat(t->dir, "thread", 0), 0);
	make_as_root(t);
	assert_int_equal(fstatat(t->dir, "thread", &st, 0), 0);
	assert_int_equal(st.st_uid, 0);
}

static void becoming_root_again_inside_is_undone_in_order(void **state)
{
	struct tmp *t = *state;
	if (geteuid() != 0)
		skip();
	struct creds outer;
	struct creds inner;
	struct stat st;
	creds_become(&outer, 65534, 65534);
	creds_become(&inner, 0, 0);
	creds_restore(&inner);
	int fd = openat(t->dir, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	creds_restore(&outer);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_int_equal(st.st_uid, 65534);
}

static void without_root_becoming_does_nothing(void **state)
{
	uid_t before = geteuid();
	if (before == 0)
		assert_int_equal(seteuid(65534), 0);
	struct creds saved;
	creds_become(&saved, 1234, 1234);
	int changed = saved.changed;
	creds_restore(&saved);
	if (before == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(changed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(what_root_makes_for_somebody_belongs_to_him),
		tmp_test(a_change_by_somebody_takes_the_set_id_bits),
		tmp_test(a_new_file_keeps_its_set_group_id_bit),
		tmp_test(no_other_thread_is_touched),
		tmp_test(becoming_root_again_inside_is_undone_in_order),
		cmocka_unit_test(without_root_becoming_does_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
