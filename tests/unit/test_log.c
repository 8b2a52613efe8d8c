#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/log.h"

static int pipe_in;  /* what stderr is written to */
static int pipe_out; /* where the test reads it */
static int real_stderr;

static int catch_stderr(void **state)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	pipe_out = fds[0];
	pipe_in = fds[1];
	real_stderr = dup(STDERR_FILENO);
	return dup2(pipe_in, STDERR_FILENO) < 0;
}

static int release_stderr(void **state)
{
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(pipe_in);
	close(pipe_out);
	return 0;
}

/* One write gives one line. */
static const char *caught(void)
{
	static char buf[8192];
	ssize_t n = read(pipe_out, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static void a_line_says_program_level_and_pairs(void **state)
{
	log_program("rrm-mount");
	log_info("event=%s n=%d", "start", 3);
	assert_string_equal(caught(), "rrm-mount: level=info event=start n=3\n");
	log_warn("a=1");
	assert_string_equal(caught(), "rrm-mount: level=warn a=1\n");
	log_error("a=2");
	assert_string_equal(caught(), "rrm-mount: level=error a=2\n");
}

static void errno_is_there_for_the_text_and_kept(void **state)
{
	log_program("rrm");
	errno = ENOSPC;
	log_error("why=%m");
	assert_int_equal(errno, ENOSPC);
	assert_string_equal(caught(), "rrm: level=error why=No space left on device\n");
}

static void a_name_with_newlines_stays_one_line(void **state)
{
	log_program("rrm");
	log_warn("path=%s", "a\nb\x1b[0m");
	assert_string_equal(caught(), "rrm: level=warn path=a b [0m\n");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	char text[5000];
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_warn("path=%s", text);
	const char *line = caught();
	size_t len = strlen(line);
	assert_in_range(len, 2000, 4096); /* up to PIPE_BUF a write is not mixed with others */
	assert_int_equal(line[len - 1], '\n');
}

#define log_test(fn) cmocka_unit_test_setup_teardown(fn, catch_stderr, release_stderr)

int main(void)
{
	const struct CMUnitTest tests[] = {
		log_test(a_line_says_program_level_and_pairs),
		log_test(errno_is_there_for_the_text_and_kept),
		log_test(a_name_with_newlines_stays_one_line),
		log_test(a_long_line_is_cut_and_still_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
