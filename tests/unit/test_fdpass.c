/* Messages with descriptors over real sockets: what arrives, what is refused, what is closed. */
#include "common/fdpass.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/fds.h"

struct pair {
	int ours;
	int theirs;
	size_t open_before; /* with both sockets */
};

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fds[2];

	assert_non_null(p);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	p->ours = fds[0];
	p->theirs = fds[1];
	p->open_before = open_fd_count();
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	close_fd(p->ours);
	close_fd(p->theirs);
	free(p);
	return 0;
}

static ssize_t send_text(int socket, const char *text, const int *fds, size_t n_fds)
{
	struct iovec part = {(void *)text, strlen(text)};

	return fdpass_send(socket, &part, 1, fds, n_fds);
}

/* Sends one message with n copies of the same descriptor. */
static ssize_t send_copies(int socket, const char *text, size_t n)
{
	int fds[FDPASS_MAX];

	for (size_t i = 0; i < n; i++)
		fds[i] = STDIN_FILENO;
	return send_text(socket, text, fds, n);
}

/* A file that is known by its size. */
static int numbered_file(size_t number)
{
	int fd = memfd_create("numbered", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(ftruncate(fd, (off_t)number), 0);
	return fd;
}

static void bytes_of_all_parts_arrive_as_one_message(void **state)
{
	struct pair *p = *state;
	struct iovec parts[] = {{(void *)"one ", 4}, {NULL, 0}, {(void *)"message", 7}};
	char data[32];
	size_t n_fds = 99;

	assert_int_equal(fdpass_send(p->ours, parts, ARRAY_LEN(parts), NULL, 0), 11);
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), NULL, 0, &n_fds), 11);
	assert_memory_equal(data, "one message", 11);
	assert_int_equal(n_fds, 0);
}

static void as_many_descriptors_as_the_kernel_takes_arrive_in_order(void **state)
{
	struct pair *p = *state;
	int sent[FDPASS_MAX], came[FDPASS_MAX];
	size_t n_fds = 0;
	char data[8];

	for (size_t i = 0; i < FDPASS_MAX; i++)
		sent[i] = numbered_file(i);
	assert_int_equal(send_text(p->ours, "all", sent, FDPASS_MAX), 3);
	for (size_t i = 0; i < FDPASS_MAX; i++)
		close_fd(sent[i]);

	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), came, FDPASS_MAX, &n_fds), 3);
	assert_int_equal(n_fds, FDPASS_MAX);
	for (size_t i = 0; i < FDPASS_MAX; i++) {
		struct stat st;

		assert_int_equal(fstat(came[i], &st), 0);
		assert_int_equal(st.st_size, i);
		close_fd(came[i]);
	}
	assert_int_equal(open_fd_count(), p->open_before);
}

/* IP-13 */
static void received_descriptors_are_close_on_exec(void **state)
{
	struct pair *p = *state;
	int came[3];
	size_t n_fds = 0;
	char data[8];

	assert_int_equal(send_copies(p->ours, "x", 3), 1);
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), came, 3, &n_fds), 1);
	assert_int_equal(n_fds, 3);
	for (size_t i = 0; i < n_fds; i++) {
		assert_int_equal(fcntl(came[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close_fd(came[i]);
	}
}

static void sending_leaves_the_descriptor_with_the_caller(void **state)
{
	struct pair *p = *state;
	AUTO_CLOSE int fd = numbered_file(7);

	assert_int_equal(send_text(p->ours, "x", &fd, 1), 1);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
}

/* KF-4 */
static void would_block_sends_neither_bytes_nor_descriptors(void **state)
{
	struct pair *p = *state;
	size_t sent = 0, received = 0;
	ssize_t size;
	char data[8];

	while ((size = send_copies(p->ours, "full", 1)) == 4)
		sent++;
	assert_int_equal(size, -EAGAIN);
	assert_true(sent > 0);

	for (;;) {
		int fd = -1;
		size_t n_fds = 0;

		size = fdpass_recv(p->theirs, data, sizeof(data), &fd, 1, &n_fds);
		if (size < 0)
			break;
		assert_int_equal(size, 4);
		assert_int_equal(n_fds, 1);
		close_fd(fd);
		received++;
	}
	assert_int_equal(size, -EAGAIN);
	assert_int_equal(received, sent);
	assert_int_equal(open_fd_count(), p->open_before);
}

static volatile sig_atomic_t pipe_signals;

static void count_pipe_signal(int number)
{
	pipe_signals++;
}

/* A stream would raise one by itself, a packet socket would not. */
static void sending_to_nobody_raises_no_signal(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
	struct sigaction counting = {.sa_handler = count_pipe_signal}, before;

	assert_int_equal(sigaction(SIGPIPE, &counting, &before), 0);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, fds), 0);
		close_fd(fds[1]);
		assert_int_equal(send_copies(fds[0], "x", 1), -EPIPE);
		assert_int_equal(send_text(fds[0], "x", NULL, 0), -EPIPE);
		close_fd(fds[0]);
	}
	assert_int_equal(sigaction(SIGPIPE, &before, NULL), 0);
	assert_int_equal(pipe_signals, 0);
}

static void bad_descriptor_is_refused_and_nothing_is_sent(void **state)
{
	struct pair *p = *state;
	int fds[] = {STDIN_FILENO, -1};
	size_t n_fds = 99;
	char data[8];

	assert_int_equal(send_text(p->ours, "x", fds, 2), -EBADF);
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), fds, 2, &n_fds), -EAGAIN);
	assert_int_equal(n_fds, 99);
}

static void end_of_the_stream_comes_after_the_last_message(void **state)
{
	struct pair *p = *state;
	size_t n_fds = 99;
	char data[8];

	assert_int_equal(send_text(p->ours, "last", NULL, 0), 4);
	close_fd(take_fd(&p->ours));
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), NULL, 0, &n_fds), 4);
	n_fds = 99;
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), NULL, 0, &n_fds), 0);
	assert_int_equal(n_fds, 0);
}

/* The size alone does not tell it from the end, so the descriptor must not be overlooked. */
static void empty_message_brings_its_descriptor(void **state)
{
	struct pair *p = *state;
	size_t n_fds = 0;
	int fd = -1;
	char data[8];

	assert_int_equal(send_copies(p->ours, "", 1), 0);
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), &fd, 1, &n_fds), 0);
	assert_int_equal(n_fds, 1);
	close_fd(fd);
	assert_int_equal(open_fd_count(), p->open_before);
}

static void too_long_message_is_refused_and_its_descriptors_closed(void **state)
{
	struct pair *p = *state;
	int came[2];
	size_t n_fds = 99;
	char data[4];

	assert_int_equal(send_copies(p->ours, "12345", 2), 5);
	assert_int_equal(send_text(p->ours, "next", NULL, 0), 4);
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), came, 2, &n_fds), -EMSGSIZE);
	assert_int_equal(n_fds, 99);
	assert_int_equal(open_fd_count(), p->open_before);
	assert_int_equal(fdpass_recv(p->theirs, data, sizeof(data), came, 2, &n_fds), 4);
}

static void more_descriptors_than_fit_are_refused_and_closed(void **state)
{
	struct pair *p = *state;
	/* One more than an odd number still fits into the control buffer: its size is rounded up.
	 */
	static const struct {
		size_t sent, max;
	} cases[] = {
		{1, 0},          {2, 0}, {FDPASS_MAX, 0}, {2, 1}, {3, 1},
		{FDPASS_MAX, 1}, {3, 2}, {6, 5},          {7, 5}, {FDPASS_MAX, FDPASS_MAX - 1}};
	int came[FDPASS_MAX];
	char data[8];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n_fds = 99;

		assert_int_equal(send_copies(p->ours, "x", cases[i].sent), 1);
		assert_int_equal(
			fdpass_recv(p->theirs, data, sizeof(data), came, cases[i].max, &n_fds),
			-EOVERFLOW);
		assert_int_equal(n_fds, 99);
		assert_int_equal(open_fd_count(), p->open_before);
	}
}

/* Receives in a process that may open no or only some more descriptors. */
static int receive_five(void *arg)
{
	struct pair *p = arg;
	size_t before = open_fd_count(), n_fds = 99;
	int came[5];
	char data[8];

	if (fdpass_recv(p->theirs, data, sizeof(data), came, 5, &n_fds) != -EOVERFLOW)
		return 1;
	return open_fd_count() == before && n_fds == 99 ? 0 : 2;
}

/* IP-4 */
static void descriptors_lost_at_the_limit_are_an_error_and_the_others_closed(void **state)
{
	struct pair *p = *state;

	/* Counting takes one descriptor as well. */
	for (size_t more = 1; more < 5; more++) {
		assert_int_equal(send_copies(p->ours, "x", 5), 1);
		assert_int_equal(run_with_fd_limit(more, receive_five, p), 0);
	}
	assert_int_equal(open_fd_count(), p->open_before);
}

static int receive_five_lossily(void *arg)
{
	struct pair *p = arg;
	size_t before = open_fd_count(), n_fds = 99;
	bool lost = false;
	int came[5];
	char data[8];

	if (fdpass_recv_lossy(p->theirs, data, sizeof(data), came, 5, &n_fds, &lost) != 4)
		return 1;
	return lost && n_fds == 0 && memcmp(data, "text", 4) == 0 && open_fd_count() == before ? 0
											       : 2;
}

/* IP-4 */
static void a_message_may_be_received_without_its_lost_descriptors(void **state)
{
	struct pair *p = *state;
	bool lost = true;
	size_t n_fds = 0;
	int came[5];
	char data[8];

	for (size_t more = 1; more < 5; more++) {
		assert_int_equal(send_copies(p->ours, "text", 5), 4);
		assert_int_equal(run_with_fd_limit(more, receive_five_lossily, p), 0);
	}
	assert_int_equal(send_copies(p->ours, "text", 5), 4);
	assert_int_equal(fdpass_recv_lossy(p->theirs, data, sizeof(data), came, 5, &n_fds, &lost),
			 4);
	assert_false(lost);
	assert_int_equal(n_fds, 5);
	for (size_t i = 0; i < 5; i++)
		close_fd(came[i]);
	assert_int_equal(open_fd_count(), p->open_before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(bytes_of_all_parts_arrive_as_one_message),
		TEST(as_many_descriptors_as_the_kernel_takes_arrive_in_order),
		TEST(received_descriptors_are_close_on_exec),
		TEST(sending_leaves_the_descriptor_with_the_caller),
		TEST(would_block_sends_neither_bytes_nor_descriptors),
		TEST(sending_to_nobody_raises_no_signal),
		TEST(bad_descriptor_is_refused_and_nothing_is_sent),
		TEST(end_of_the_stream_comes_after_the_last_message),
		TEST(empty_message_brings_its_descriptor),
		TEST(too_long_message_is_refused_and_its_descriptors_closed),
		TEST(more_descriptors_than_fit_are_refused_and_closed),
		TEST(descriptors_lost_at_the_limit_are_an_error_and_the_others_closed),
		TEST(a_message_may_be_received_without_its_lost_descriptors),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("fdpass", tests, NULL, NULL);
}
