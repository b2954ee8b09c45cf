/* What is said of a listening socket's queue without taking anybody out of it. */
#include "common/net/waiting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/bind.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/kernel.h"

static void open_queue(struct bound *ret)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	const char *which;

	assert_int_equal(bind_open(&options, ret, &which), 0);
}

static void somebody_waits_until_the_last_one_is_accepted(void **state)
{
	struct bound bound;

	open_queue(&bound);
	assert_false(somebody_waits(bound.fd));
	AUTO_CLOSE int one = connect_tcp("127.0.0.1", addr_port(&bound.addr));
	AUTO_CLOSE int two = connect_tcp("127.0.0.1", addr_port(&bound.addr));
	kernel_await_queue(bound.fd, 2);
	assert_true(somebody_waits(bound.fd));
	AUTO_CLOSE int first = accept4(bound.fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(first >= 0);
	assert_true(somebody_waits(bound.fd));
	AUTO_CLOSE int second = accept4(bound.fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(second >= 0);
	assert_false(somebody_waits(bound.fd));
	bound_close(&bound);
}

/* Else nobody would ask accept4(), which tells what is wrong. */
static void of_a_socket_that_is_of_no_use_the_answer_is_yes(void **state)
{
	struct bound bound;

	open_queue(&bound);
	assert_int_equal(shutdown(bound.fd, SHUT_RD), 0); /* it listens no more */
	assert_true(somebody_waits(bound.fd));
	int closed = bound.fd;
	bound_close(&bound);
	assert_true(somebody_waits(closed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(somebody_waits_until_the_last_one_is_accepted),
		cmocka_unit_test(of_a_socket_that_is_of_no_use_the_answer_is_yes),
	};

	alarm(60);
	return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
