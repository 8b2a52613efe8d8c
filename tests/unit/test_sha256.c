#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/cleanup.h"
#include "manager/base/sha256.h"

static const char empty_hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char abc_hash[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void known_texts_have_their_known_hashes(void **state)
{
	char hex[SHA256_HEX_LEN];
	assert_int_equal(sha256_hex("", 0, hex), 0);
	assert_string_equal(hex, empty_hash);
	assert_int_equal(sha256_hex("abc", 3, hex), 0);
	assert_string_equal(hex, abc_hash);
}

static void a_file_hashes_as_its_bytes_and_keeps_its_position(void **state)
{
	struct tmp *t = *state;
	char hex[SHA256_HEX_LEN];
	CLEANUP(closep) int fd = openat(t->dir, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(sha256_fd(fd, 0, hex), 0);
	assert_string_equal(hex, empty_hash);
	assert_int_equal(file_write_all(fd, "abc", 3), 0);
	assert_int_equal(sha256_fd(fd, 3, hex), 0);
	assert_string_equal(hex, abc_hash);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 3);
}

static void a_file_of_many_chunks_hashes_as_one_text(void **state)
{
	struct tmp *t = *state;
	size_t len = 3 * 256 * 1024 + 7;
	CLEANUP(freep) char *data = malloc(len);
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7 + i / 251);
	CLEANUP(closep) int fd = openat(t->dir, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_write_all(fd, data, len), 0);
	char by_fd[SHA256_HEX_LEN];
	char by_text[SHA256_HEX_LEN];
	assert_int_equal(sha256_fd(fd, len, by_fd), 0);
	assert_int_equal(sha256_hex(data, len, by_text), 0);
	assert_string_equal(by_fd, by_text);
	assert_int_equal(sha256_fd(fd, len - 1, by_fd), -EFBIG);
}

static void what_cannot_be_read_is_an_error(void **state)
{
	char hex[SHA256_HEX_LEN];
	assert_int_equal(sha256_fd(-1, 10, hex), -EBADF);
	CLEANUP(closep) int dir = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(sha256_fd(dir, 10, hex), -EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_texts_have_their_known_hashes),
		tmp_test(a_file_hashes_as_its_bytes_and_keeps_its_position),
		tmp_test(a_file_of_many_chunks_hashes_as_one_text),
		cmocka_unit_test(what_cannot_be_read_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
