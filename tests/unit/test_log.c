/* Lines of the log, as the program at the other end of standard error gets them.
 *
 * wrap: localtime_r */
#include "common/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>

#include <cmocka.h>

#define LINE_MAX_SIZE 2048

/* Standard error is a socket that keeps the bounds of each write: one line must be one write. */
static struct {
	int reader;
	int writer;
	int saved_stderr;
} stream;

static char line[2 * LINE_MAX_SIZE];

struct tm *__real_localtime_r(const time_t *time, struct tm *ret);
struct tm *__wrap_localtime_r(const time_t *time, struct tm *ret);

/* Reads files at times, and then leaves any errno. */
struct tm *__wrap_localtime_r(const time_t *time, struct tm *ret)
{
	errno = ENOTDIR;
	return __real_localtime_r(time, ret);
}

static int setup(void **state)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) == -1)
		return -1;
	stream.reader = fds[0];
	stream.writer = fds[1];
	stream.saved_stderr = dup(STDERR_FILENO);
	return stream.saved_stderr == -1 ? -1 : unsetenv("JOURNAL_STREAM");
}

static int teardown(void **state)
{
	close_fd(stream.reader);
	close_fd(stream.writer);
	close_fd(stream.saved_stderr);
	return unsetenv("JOURNAL_STREAM");
}

/* Standard error is ours only while a line is written, for cmocka uses it too. */
#define WITH_STREAM(action)                               \
	do {                                              \
		dup2(stream.writer, STDERR_FILENO);       \
		action;                                   \
		int kept = errno;                         \
		dup2(stream.saved_stderr, STDERR_FILENO); \
		errno = kept;                             \
	} while (0)

/* The next line that was written, "" if there is none. */
static const char *next_line(void)
{
	int saved = errno;
	ssize_t size = recv(stream.reader, line, sizeof(line) - 1, MSG_DONTWAIT);

	line[size > 0 ? size : 0] = '\0';
	errno = saved;
	return line;
}

static void name_journal(dev_t device, ino_t inode)
{
	char text[64];

	snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)device, (uintmax_t)inode);
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

/* Standard error is the journal's from here on. */
static void use_journal(enum log_level level)
{
	struct stat st;

	assert_int_equal(fstat(stream.writer, &st), 0);
	name_journal(st.st_dev, st.st_ino);
	WITH_STREAM(log_init("test", level));
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	int error = regexec(&regex, text, 0, NULL, 0);
	regfree(&regex);
	if (error)
		fail_msg("\"%s\" does not match \"%s\"", text, pattern);
}

#define TIME_PATTERN "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} "

static void plain_line_has_time_program_pid_level_and_text(void **state)
{
	char pattern[128];

	snprintf(pattern, sizeof(pattern), TIME_PATTERN "test\\[%d\\] warning: 3 of \"x\"\n$",
		 (int)getpid());
	WITH_STREAM(log_init("test", LOG_LEVEL_INFO));
	WITH_STREAM(log_warning("%d of \"%s\"", 3, "x"));
	assert_matches(next_line(), pattern);
	assert_string_equal(next_line(), "");
}

static void each_level_has_its_name(void **state)
{
	WITH_STREAM(log_init("test", LOG_LEVEL_DEBUG));
	WITH_STREAM(log_error("x"));
	assert_matches(next_line(), "\\] error: x\n$");
	WITH_STREAM(log_warning("x"));
	assert_matches(next_line(), "\\] warning: x\n$");
	WITH_STREAM(log_info("x"));
	assert_matches(next_line(), "\\] info: x\n$");
	WITH_STREAM(log_debug("x"));
	assert_matches(next_line(), "\\] debug: x\n$");
}

static void journal_gets_the_number_of_the_level_and_the_text(void **state)
{
	use_journal(LOG_LEVEL_DEBUG);
	WITH_STREAM(log_error("one %s", "error"));
	assert_string_equal(next_line(), "<3>one error\n");
	WITH_STREAM(log_warning("a warning"));
	assert_string_equal(next_line(), "<4>a warning\n");
	WITH_STREAM(log_info("information"));
	assert_string_equal(next_line(), "<6>information\n");
	WITH_STREAM(log_debug("details"));
	assert_string_equal(next_line(), "<7>details\n");
}

static void another_stream_than_the_journals_gets_plain_lines(void **state)
{
	struct stat st;

	assert_int_equal(fstat(stream.writer, &st), 0);
	name_journal(st.st_dev, st.st_ino + 1);
	WITH_STREAM(log_init("test", LOG_LEVEL_INFO));
	WITH_STREAM(log_info("x"));
	assert_matches(next_line(), TIME_PATTERN);

	name_journal(st.st_dev + 1, st.st_ino);
	WITH_STREAM(log_init("test", LOG_LEVEL_INFO));
	WITH_STREAM(log_info("x"));
	assert_matches(next_line(), TIME_PATTERN);
}

static void nonsense_in_the_journals_variable_means_plain_lines(void **state)
{
	static const char *const values[] = {"", ":", "1", "x:y", "8:", ":8", "-", "1;2"};

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		assert_int_equal(setenv("JOURNAL_STREAM", values[i], 1), 0);
		WITH_STREAM(log_init("test", LOG_LEVEL_INFO));
		WITH_STREAM(log_info("x"));
		assert_matches(next_line(), TIME_PATTERN);
	}
}

static void percent_m_is_the_callers_errno_and_errno_is_kept(void **state)
{
	use_journal(LOG_LEVEL_INFO);
	WITH_STREAM(errno = EADDRINUSE; log_error("cannot bind: %m"));
	assert_int_equal(errno, EADDRINUSE);
	assert_string_equal(next_line(), "<3>cannot bind: Address already in use\n");

	unsetenv("JOURNAL_STREAM");
	WITH_STREAM(log_init("test", LOG_LEVEL_INFO));
	WITH_STREAM(errno = EADDRINUSE; log_error("cannot bind: %m"));
	assert_int_equal(errno, EADDRINUSE);
	assert_matches(next_line(), "error: cannot bind: Address already in use\n$");
}

static void errno_is_kept_when_nothing_is_written(void **state)
{
	use_journal(LOG_LEVEL_ERROR);
	WITH_STREAM(errno = ENOENT; log_info("left out"));
	assert_int_equal(errno, ENOENT);

	close_fd(take_fd(&stream.reader));
	WITH_STREAM(errno = ENOENT; log_error("nobody reads this"));
	assert_int_equal(errno, ENOENT);
}

static void levels_above_the_threshold_are_left_out(void **state)
{
	for (int threshold = LOG_LEVEL_ERROR; threshold <= LOG_LEVEL_DEBUG; threshold++) {
		use_journal((enum log_level)threshold);
		for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
			WITH_STREAM(log_write((enum log_level)level, "x"));
			assert_int_equal(next_line()[0], level <= threshold ? '<' : '\0');
		}
	}
}

static void line_break_in_the_text_forges_no_line(void **state)
{
	use_journal(LOG_LEVEL_INFO);
	WITH_STREAM(log_info("name \"%s\"", "x\n<0>kernel: on fire\r\n"));
	assert_string_equal(next_line(), "<6>name \"x <0>kernel: on fire  \"\n");
	assert_string_equal(next_line(), "");
}

static void control_characters_do_not_reach_the_reader(void **state)
{
	use_journal(LOG_LEVEL_INFO);
	for (int c = 1; c < 256; c++) {
		char expected[] = "<6>a?b\n";

		expected[4] = (char)(c < 0x20 || c == 0x7f ? ' ' : c);
		WITH_STREAM(log_info("a%cb", c));
		assert_string_equal(next_line(), expected);
	}
}

static void text_beyond_ascii_is_kept(void **state)
{
	use_journal(LOG_LEVEL_INFO);
	WITH_STREAM(log_info("Gr\xc3\xb6\xc3\x9f"
			     "e \xe2\x82\xac"));
	assert_string_equal(next_line(), "<6>Gr\xc3\xb6\xc3\x9f"
					 "e \xe2\x82\xac\n");
}

/* Every length around the bound: cut or not, it is one line with one end. */
static void long_line_is_cut_but_stays_a_line(void **state)
{
	char text[2 * LINE_MAX_SIZE];

	use_journal(LOG_LEVEL_INFO);
	for (size_t length = LINE_MAX_SIZE - 20; length < LINE_MAX_SIZE + 20; length++) {
		memset(text, 'x', length);
		text[length] = '\0';
		WITH_STREAM(log_info("%s", text));

		size_t size = strlen(next_line());
		assert_true(size == length + 4 || (size < length + 4 && size == LINE_MAX_SIZE - 1));
		assert_ptr_equal(strchr(line, '\n'), line + size - 1);
		assert_memory_equal(line, "<6>", 3);
		assert_int_equal(strspn(line + 3, "x"), size - 4);
		assert_string_equal(next_line(), "");
	}
}

static void long_name_of_a_program_is_cut(void **state)
{
	static char name[4 * LINE_MAX_SIZE];

	memset(name, 'n', sizeof(name) - 1);
	WITH_STREAM(log_init(name, LOG_LEVEL_INFO));
	WITH_STREAM(log_info("the text"));
	assert_matches(next_line(), "n\\[[0-9]+\\] info: the text\n$");
}

/* --- nobody reads ----------------------------------------------------------------------------- */

static void replace_stream(int reader, int writer)
{
	close_fd(stream.reader);
	close_fd(stream.writer);
	stream.reader = reader;
	stream.writer = writer;
}

/* What is there to be read, of which the end stays in line; returns the number of lines. */
static unsigned int read_all(void)
{
	struct pollfd unread = {.fd = stream.reader, .events = POLLIN};
	unsigned int n = 0;
	ssize_t size = 0;

	while (poll(&unread, 1, 0) == 1) {
		size = read(stream.reader, line, sizeof(line) - 1);
		assert_true(size > 0);
		for (ssize_t i = 0; i < size; i++)
			n += line[i] == '\n';
	}
	line[size] = '\0';
	return n;
}

static void assert_lost_lines_are_told(unsigned int n)
{
	char expected[128];

	WITH_STREAM(log_info("read again"));
	snprintf(expected, sizeof(expected),
		 "<4>standard error was not read, or failed; lines left out: %u\n<6>read again\n",
		 n);
	assert_int_equal(read_all(), 2);
	assert_string_equal(line, expected);

	WITH_STREAM(log_info("and again"));
	assert_int_equal(read_all(), 1);
	assert_string_equal(line, "<6>and again\n");
}

/* More than the stream holds; the alarm in main ends what waits for a reader. */
static unsigned int write_too_many(void)
{
	static const unsigned int n_written = 2000;
	char text[LINE_MAX_SIZE / 2];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	WITH_STREAM(for (unsigned int i = 0; i < n_written; i++) {
		errno = ENOENT;
		log_error("%s", text);
	});
	assert_int_equal(errno, ENOENT);
	return n_written;
}

static void full_stream_loses_lines_and_tells_how_many(void)
{
	use_journal(LOG_LEVEL_INFO);
	for (int round = 0; round < 2; round++) {
		unsigned int n_written = write_too_many();
		unsigned int n_read = read_all();

		assert_in_range(n_read, 1, n_written - 1);
		assert_string_equal(line + strlen(line) - 3, "xx\n"); /* no part of a line */
		assert_lost_lines_are_told(n_written - n_read);
	}
}

static void full_pipe_holds_nobody_up_and_the_lost_lines_are_told(void **state)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	replace_stream(fds[0], fds[1]);
	full_stream_loses_lines_and_tells_how_many();
	assert_false(fcntl(stream.writer, F_GETFL) & O_NONBLOCK);
}

static void full_socket_holds_nobody_up_and_the_lost_lines_are_told(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	replace_stream(fds[0], fds[1]);
	full_stream_loses_lines_and_tells_how_many();
	assert_false(fcntl(stream.writer, F_GETFL) & O_NONBLOCK);
}

/* Ctrl-S, and what the master of the pair does not read. */
static void stopped_terminal_holds_nobody_up(void **state)
{
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	replace_stream(master, slave);
	WITH_STREAM(log_init("test", LOG_LEVEL_INFO));

	assert_int_equal(tcflow(slave, TCOOFF), 0);
	WITH_STREAM(log_info("stopped"));
	assert_int_equal(read_all(), 0);
	assert_int_equal(tcflow(slave, TCOON), 0);
	WITH_STREAM(log_info("goes on"));
	assert_int_equal(read_all(), 2);
	assert_matches(line, "left out: 1\r\n.*goes on\r\n$");
}

static void regular_file_gets_every_line(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct stat st;

	assert_int_not_equal(fd, -1);
	replace_stream(-1, fd);
	use_journal(LOG_LEVEL_INFO);
	unsigned int n_written = write_too_many();
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, n_written * (strlen("<3>\n") + LINE_MAX_SIZE / 2 - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(plain_line_has_time_program_pid_level_and_text),
		TEST(each_level_has_its_name),
		TEST(journal_gets_the_number_of_the_level_and_the_text),
		TEST(another_stream_than_the_journals_gets_plain_lines),
		TEST(nonsense_in_the_journals_variable_means_plain_lines),
		TEST(percent_m_is_the_callers_errno_and_errno_is_kept),
		TEST(errno_is_kept_when_nothing_is_written),
		TEST(levels_above_the_threshold_are_left_out),
		TEST(line_break_in_the_text_forges_no_line),
		TEST(control_characters_do_not_reach_the_reader),
		TEST(text_beyond_ascii_is_kept),
		TEST(long_line_is_cut_but_stays_a_line),
		TEST(long_name_of_a_program_is_cut),
		TEST(full_pipe_holds_nobody_up_and_the_lost_lines_are_told),
		TEST(full_socket_holds_nobody_up_and_the_lost_lines_are_told),
		TEST(stopped_terminal_holds_nobody_up),
		TEST(regular_file_gets_every_line),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
