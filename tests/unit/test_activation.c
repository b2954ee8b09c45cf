#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/activation.h"

#define FIRST_FD 3
#define PLACES   5 /* descriptors 3 to 7 are the tests' own */

enum what { LISTENER, CONNECTED, DATAGRAM, PIPE };

static int make(enum what what)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int pair[2], fd;

	switch (what) {
	case LISTENER:
		fd = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
		assert_int_equal(listen(fd, 1), 0);
		return fd;
	case DATAGRAM:
		return socket(AF_INET, SOCK_DGRAM, 0);
	case PIPE:
		assert_int_equal(pipe(pair), 0);
		break;
	case CONNECTED:
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		break;
	}
	close(pair[1]);
	return pair[0];
}

/* Puts one at descriptor 3 + place, as a service manager does, close-on-exec off. */
static void pass(enum what what, int place)
{
	int fd = make(what);

	if (fd == FIRST_FD + place)
		return;
	assert_int_equal(dup2(fd, FIRST_FD + place), FIRST_FD + place);
	close(fd);
}

static void announce(int count, const char *names)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%d", count);
	setenv("LISTEN_FDS", text, 1);
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
	else
		unsetenv("LISTEN_FDNAMES");
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

static int close_places(void **state)
{
	for (int i = 0; i < PLACES; i++)
		close(FIRST_FD + i);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return 0;
}

static int tear_down(void **state)
{
	activation_close_rest(NULL, NULL);
	return close_places(state);
}

static void sockets_are_taken_by_name_whatever_their_order(void **state)
{
	pass(LISTENER, 0);
	pass(LISTENER, 1);
	announce(2, "web:echo");
	assert_int_equal(activation_init(), 2);
	assert_int_equal(activation_take("echo"), 4);
	assert_int_equal(activation_take("web"), 3);
	assert_int_equal(activation_take("web"), -EBUSY);
	assert_int_equal(activation_take("wbe"), -ENOENT);
	assert_int_equal(activation_close_rest(NULL, NULL), 0);
	assert_true(is_open(3));
	assert_true(is_open(4));
}

static void sockets_of_one_name_are_taken_one_after_the_other(void **state)
{
	pass(LISTENER, 0);
	pass(LISTENER, 1);
	announce(2, "web:web");
	assert_int_equal(activation_init(), 2);
	assert_int_equal(activation_take("web"), 3);
	assert_int_equal(activation_take("web"), 4);
	assert_int_equal(activation_take("web"), -EBUSY);
}

static void sockets_are_taken_by_number_whatever_their_names(void **state)
{
	pass(LISTENER, 0);
	pass(LISTENER, 1);
	announce(2, "web:echo");
	assert_int_equal(activation_init(), 2);
	assert_int_equal(activation_take_fd(4), 4);
	assert_int_equal(activation_take_fd(3), 3);
	assert_int_equal(activation_close_rest(NULL, NULL), 0);
	assert_true(is_open(3));
	assert_true(is_open(4));
}

static void no_socket_is_taken_twice(void **state)
{
	pass(LISTENER, 0);
	pass(LISTENER, 1);
	pass(LISTENER, 2);
	announce(3, "web:web:echo");
	assert_int_equal(activation_init(), 3);
	assert_int_equal(activation_take_fd(3), 3);
	assert_int_equal(activation_take_fd(3), -EBUSY);
	assert_int_equal(activation_take("web"), 4);
	assert_int_equal(activation_take_fd(4), -EBUSY);
	assert_int_equal(activation_take("web"), -EBUSY);
	assert_int_equal(activation_take("echo"), 5);
}

static void only_numbers_that_were_passed_are_taken(void **state)
{
	pass(LISTENER, 0);
	pass(LISTENER, 1);
	assert_int_equal(activation_init(), 0);
	assert_int_equal(activation_take_fd(3), -ENOENT);
	announce(1, "web");
	assert_int_equal(activation_init(), 1);
	assert_int_equal(activation_take_fd(4), -ENOENT);
	assert_int_equal(activation_take_fd(2), -ENOENT);
	assert_int_equal(activation_take_fd(-1), -ENOENT);
	assert_int_equal(activation_close_rest(NULL, NULL), 1);
	assert_int_equal(activation_take_fd(3), -ENOENT);
}

static void without_names_they_are_called_unknown(void **state)
{
	pass(LISTENER, 0);
	announce(1, NULL);
	assert_int_equal(activation_init(), 1);
	assert_int_equal(activation_take("unknown"), 3);
}

static void all_become_close_on_exec(void **state)
{
	pass(LISTENER, 0);
	pass(PIPE, 1);
	announce(2, "a:b");
	assert_int_equal(activation_init(), 2);
	assert_int_equal(fcntl(3, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(4, F_GETFD), FD_CLOEXEC);
}

static void children_inherit_none_of_the_variables(void **state)
{
	pass(LISTENER, 0);
	announce(1, "a");
	assert_int_equal(activation_init(), 1);
	assert_null(getenv("LISTEN_PID"));
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_FDNAMES"));
}

static void what_cannot_be_listened_on_is_refused_and_stays(void **state)
{
	pass(DATAGRAM, 0);
	pass(CONNECTED, 1);
	pass(PIPE, 2);
	announce(3, "datagram:connected:pipe");
	assert_int_equal(activation_init(), 3);
	assert_int_equal(activation_take("datagram"), -ESOCKTNOSUPPORT);
	assert_int_equal(activation_take("connected"), -EINVAL);
	assert_int_equal(activation_take("pipe"), -ENOTSOCK);
	assert_int_equal(activation_take_fd(3), -ESOCKTNOSUPPORT);
	assert_int_equal(activation_take_fd(4), -EINVAL);
	assert_int_equal(activation_take_fd(5), -ENOTSOCK);
	assert_int_equal(activation_close_rest(NULL, NULL), 3);
}

struct unused {
	char names[64];
	int fds;
};

static void on_unused(const char *name, int fd, void *ctx)
{
	struct unused *unused = ctx;

	assert_true(is_open(fd));
	strcat(unused->names, name);
	strcat(unused->names, " ");
	unused->fds += fd;
}

static void what_nobody_took_is_told_and_closed(void **state)
{
	struct unused unused = {0};

	pass(LISTENER, 0);
	pass(LISTENER, 1);
	pass(LISTENER, 2);
	announce(3, "web:echo:");
	assert_int_equal(activation_init(), 3);
	assert_int_equal(activation_take("echo"), 4);
	assert_int_equal(activation_close_rest(on_unused, &unused), 2);
	assert_string_equal(unused.names, "web  ");
	assert_int_equal(unused.fds, 3 + 5);
	assert_false(is_open(3));
	assert_true(is_open(4));
	assert_false(is_open(5));
	assert_int_equal(activation_close_rest(on_unused, &unused), 0);
	assert_int_equal(activation_take("web"), -ENOENT);
}

static void nothing_passed_is_no_error(void **state)
{
	assert_int_equal(activation_init(), 0);
	assert_int_equal(activation_take("web"), -ENOENT);
	announce(0, "");
	assert_int_equal(activation_init(), 0);
}

static void what_was_passed_to_another_process_is_not_touched(void **state)
{
	pass(LISTENER, 0);
	announce(1, "web");
	setenv("LISTEN_PID", "1", 1);
	assert_int_equal(activation_init(), 0);
	assert_int_equal(activation_take("web"), -ENOENT);
	assert_int_equal(activation_close_rest(NULL, NULL), 0);
	assert_true(is_open(3));
	assert_int_equal(fcntl(3, F_GETFD), 0);
	assert_null(getenv("LISTEN_FDS"));
}

static void variables_that_make_no_sense_are_refused(void **state)
{
	const char *const numbers[] = {"", "x", "-1", "1 ", "0x3"};

	pass(LISTENER, 0);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		announce(1, "web");
		setenv("LISTEN_FDS", numbers[i], 1);
		assert_int_equal(activation_init(), -EINVAL);
		announce(1, "web");
		setenv("LISTEN_PID", numbers[i], 1);
		assert_int_equal(activation_init(), -EINVAL);
	}
	assert_int_equal(activation_take("web"), -ENOENT);
	assert_null(getenv("LISTEN_FDS"));
}

static void there_is_one_name_to_each_descriptor(void **state)
{
	char endless[512];

	pass(LISTENER, 0);
	pass(LISTENER, 1);
	announce(2, "web");
	assert_int_equal(activation_init(), -EINVAL);
	announce(2, "web:echo:third");
	assert_int_equal(activation_init(), -EINVAL);

	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	announce(1, endless);
	assert_int_equal(activation_init(), -EINVAL);
	assert_int_equal(activation_take("web"), -ENOENT);
}

static void descriptors_that_are_not_there_are_refused(void **state)
{
	pass(LISTENER, 0);
	announce(2, "web:echo");
	assert_int_equal(activation_init(), -EBADF);
	assert_int_equal(activation_take("web"), -ENOENT);
	announce(2000000000, NULL);
	assert_int_equal(activation_init(), -E2BIG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, close_places, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sockets_are_taken_by_name_whatever_their_order),
		TEST(sockets_of_one_name_are_taken_one_after_the_other),
		TEST(sockets_are_taken_by_number_whatever_their_names),
		TEST(no_socket_is_taken_twice),
		TEST(only_numbers_that_were_passed_are_taken),
		TEST(without_names_they_are_called_unknown),
		TEST(all_become_close_on_exec),
		TEST(children_inherit_none_of_the_variables),
		TEST(what_cannot_be_listened_on_is_refused_and_stays),
		TEST(what_nobody_took_is_told_and_closed),
		TEST(nothing_passed_is_no_error),
		TEST(what_was_passed_to_another_process_is_not_touched),
		TEST(variables_that_make_no_sense_are_refused),
		TEST(there_is_one_name_to_each_descriptor),
		TEST(descriptors_that_are_not_there_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
