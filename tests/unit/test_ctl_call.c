/* The client's side of the control socket against servers of every temper, each a forked child. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/control.h"
#include "daemon/ctl_call.h"

#define NOBODY  65534
#define LONG_MS 30000

struct fixture {
	char folder[64], path[96];
	int listener;
	pid_t server;
	json_t *request;
};

/* What the server does with its one client. */
typedef void serve_fn(int fd);

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	alarm(60);
	strcpy(f->folder, "/tmp/usher-call-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/s", f->folder);
	strcpy(address.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(f->listener, 0), 0);
	f->request = json_pack("{s:i}", "version", 1);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close_fd(f->listener);
	if (f->server) {
		kill(f->server, SIGKILL);
		waitpid(f->server, NULL, 0);
	}
	unlink(f->path);
	assert_int_equal(rmdir(f->folder), 0);
	json_decref(f->request);
	free(f);
	alarm(0);
	return 0;
}

static void start(struct fixture *f, serve_fn *serve)
{
	f->server = fork();
	assert_true(f->server >= 0);
	if (f->server == 0) {
		alarm(60);
		serve(accept(f->listener, NULL, NULL));
		_exit(0);
	}
}

static int call(struct fixture *f, unsigned int timeout_ms, char **line)
{
	return ctl_call(f->path, f->request, timeout_ms, line);
}

static void write_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, bytes, size);

		if (written == -1)
			_exit(1);
		bytes += written;
		size -= (size_t)written;
	}
}

/* Reads the request to its line feed and repeats it. */
static void serve_the_request_itself(int fd)
{
	char c = 0;

	while (c != '\n' && read(fd, &c, 1) == 1)
		write_all(fd, &c, 1);
}

static void the_request_is_one_line_and_so_is_the_answer(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *line = NULL;

	start(f, serve_the_request_itself);
	assert_int_equal(call(f, LONG_MS, &line), 0);
	assert_string_equal(line, "{\"version\":1}");
}

static void serve_a_megabyte(int fd)
{
	static char text[1000001];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\n';
	write_all(fd, text, sizeof(text));
}

static void a_long_answer_is_read_whole(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *line = NULL;

	start(f, serve_a_megabyte);
	assert_int_equal(call(f, LONG_MS, &line), 0);
	assert_int_equal(strlen(line), 1000000);
}

static void serve_without_end(int fd)
{
	static char text[65536];

	memset(text, 'x', sizeof(text));
	for (;;)
		write_all(fd, text, sizeof(text));
}

static void an_answer_over_the_limit_is_an_error(void **state)
{
	struct fixture *f = *state;
	char *line = NULL;

	start(f, serve_without_end);
	assert_int_equal(call(f, LONG_MS, &line), -EPROTO);
	assert_null(line);
}

static void serve_half_a_line(int fd)
{
	write_all(fd, "{\"ok\"", 5);
	shutdown(fd, SHUT_RDWR);
}

static void an_answer_without_its_line_feed_is_an_error(void **state)
{
	struct fixture *f = *state;
	char *line = NULL;

	start(f, serve_half_a_line);
	assert_int_equal(call(f, LONG_MS, &line), -EPROTO);
	assert_null(line);
}

static void serve_nothing(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

static void an_end_without_a_word_is_an_error(void **state)
{
	struct fixture *f = *state;
	char *line = NULL;

	start(f, serve_nothing);
	assert_int_equal(call(f, LONG_MS, &line), -ECONNRESET);
}

static void serve_silence(int fd)
{
	pause();
}

static void silence_ends_at_the_deadline(void **state)
{
	struct fixture *f = *state;
	char *line = NULL;

	start(f, serve_silence);
	assert_int_equal(call(f, 50, &line), -ETIMEDOUT);
}

/* Each byte comes in time, the whole does not. */
static void serve_slowly(int fd)
{
	struct timeval tenth = {.tv_usec = 10000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tenth, sizeof(tenth));
	for (char c;;)
		if (read(fd, &c, 1) == -1)
			write_all(fd, "x", 1);
}

static void the_deadline_is_for_the_whole_answer(void **state)
{
	struct fixture *f = *state;
	char *line = NULL;

	start(f, serve_slowly);
	assert_int_equal(call(f, 200, &line), -ETIMEDOUT);
}

static void a_full_queue_is_waited_for_until_the_deadline(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int waiting = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *line = NULL;

	strcpy(address.sun_path, f->path);
	assert_int_equal(connect(waiting, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(call(f, 50, &line), -ETIMEDOUT);
	close(waiting);
}

static void nobody_there_is_told_apart(void **state)
{
	struct fixture *f = *state;
	char endless[200];
	char *line = NULL;

	close_fd(take_fd(&f->listener));
	assert_int_equal(call(f, LONG_MS, &line), -ECONNREFUSED);
	unlink(f->path);
	assert_int_equal(call(f, LONG_MS, &line), -ENOENT);

	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	assert_int_equal(ctl_call(endless, f->request, LONG_MS, &line), -ENAMETOOLONG);
}

static void who_has_no_right_is_told(void **state)
{
	struct fixture *f = *state;
	char *line = NULL;
	int r;

	if (getuid() != 0)
		skip();
	assert_int_equal(chmod(f->folder, 0755), 0);
	assert_int_equal(chmod(f->path, 0600), 0);
	assert_int_equal(seteuid(NOBODY), 0);
	r = call(f, LONG_MS, &line);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, -EACCES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_request_is_one_line_and_so_is_the_answer),
		TEST(a_long_answer_is_read_whole),
		TEST(an_answer_over_the_limit_is_an_error),
		TEST(an_answer_without_its_line_feed_is_an_error),
		TEST(an_end_without_a_word_is_an_error),
		TEST(silence_ends_at_the_deadline),
		TEST(the_deadline_is_for_the_whole_answer),
		TEST(a_full_queue_is_waited_for_until_the_deadline),
		TEST(nobody_there_is_told_apart),
		TEST(who_has_no_right_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
