#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/notify.h"

struct fixture {
	int manager; /* our end of the notification socket */
	char folder[64], path[96], abstract[96];
};

static int bind_manager(const struct sockaddr_un *address, socklen_t length)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)address, length), 0);
	return fd;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->folder, "/tmp/usher-notify-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/notify", f->folder);
	snprintf(f->abstract, sizeof(f->abstract), "@usher-test-notify-%d", (int)getpid());
	f->manager = -1;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	*state = f;
	return 0;
}

static void listen_on_path(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, f->path);
	f->manager = bind_manager(&address, sizeof(address));
	setenv("NOTIFY_SOCKET", f->path, 1);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close_fd(f->manager);
	unlink(f->path);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static void expect(struct fixture *f, const char *message)
{
	char text[NOTIFY_MESSAGE_SIZE + 2] = "";
	ssize_t size = recv(f->manager, text, sizeof(text) - 1, 0);

	assert_int_equal(size, (ssize_t)strlen(message));
	assert_string_equal(text, message);
}

static void without_a_manager_nothing_is_sent_and_nothing_fails(void **state)
{
	assert_int_equal(notify_init(), 0);
	assert_false(notify_wanted());
	assert_int_equal(notify_send("READY=1"), 0);
	assert_true(notify_watchdog_interval() == 0);
}

static void a_message_reaches_a_path(void **state)
{
	struct fixture *f = *state;

	listen_on_path(f);
	assert_int_equal(notify_init(), 0);
	assert_true(notify_wanted());
	assert_int_equal(notify_send("READY=1\nSTATUS=%d workers", 4), 0);
	expect(f, "READY=1\nSTATUS=4 workers");
}

static void a_message_reaches_an_abstract_address(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path + 1, f->abstract + 1);
	f->manager = bind_manager(&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
							strlen(f->abstract)));
	setenv("NOTIFY_SOCKET", f->abstract, 1);

	assert_int_equal(notify_init(), 0);
	assert_int_equal(notify_send("STOPPING=1"), 0);
	expect(f, "STOPPING=1");
}

static void a_manager_that_has_gone_is_an_error(void **state)
{
	struct fixture *f = *state;

	listen_on_path(f);
	assert_int_equal(notify_init(), 0);
	close_fd(take_fd(&f->manager));
	assert_int_equal(notify_send("READY=1"), -ECONNREFUSED);
	unlink(f->path);
	assert_int_equal(notify_send("READY=1"), -ENOENT);
}

static void a_manager_that_does_not_read_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	int r, sent = 0;

	alarm(20);
	listen_on_path(f);
	assert_int_equal(notify_init(), 0);
	while ((r = notify_send("WATCHDOG=1")) == 0)
		assert_true(++sent < 100000);
	assert_int_equal(r, -EAGAIN);
	expect(f, "WATCHDOG=1");
	assert_int_equal(notify_send("READY=1"), 0);
	alarm(0);
}

static void a_message_over_the_limit_is_not_sent(void **state)
{
	struct fixture *f = *state;
	char text[NOTIFY_MESSAGE_SIZE + 2];

	listen_on_path(f);
	assert_int_equal(notify_init(), 0);

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(notify_send("%s", text), -EMSGSIZE);
	assert_int_equal(recv(f->manager, text, sizeof(text), 0), -1);

	text[NOTIFY_MESSAGE_SIZE] = '\0';
	assert_int_equal(notify_send("%s", text), 0);
	expect(f, text);
}

static void children_inherit_none_of_the_variables(void **state)
{
	struct fixture *f = *state;

	listen_on_path(f);
	setenv("WATCHDOG_USEC", "1000000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(notify_init(), 0);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
}

static void bad_addresses_are_told_and_ignored(void **state)
{
	char endless[256];
	const struct {
		const char *address;
		int error;
	} bad[] = {
		{"", -EAFNOSUPPORT},
		{"notify", -EAFNOSUPPORT},
		{"vsock:2:1", -EAFNOSUPPORT},
		{"@", -EINVAL},
		{"/", -EINVAL},
		{endless, -EINVAL},
	};

	memset(endless, '/', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		setenv("NOTIFY_SOCKET", bad[i].address, 1);
		assert_int_equal(notify_init(), bad[i].error);
		assert_false(notify_wanted());
		assert_null(getenv("NOTIFY_SOCKET"));
		assert_int_equal(notify_send("READY=1"), 0);
	}
}

static double interval(struct fixture *f, const char *usec, const char *pid, int r)
{
	setenv("NOTIFY_SOCKET", f->path, 1);
	setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(notify_init(), r);
	return notify_watchdog_interval();
}

static void the_watchdog_is_fed_at_half_its_time(void **state)
{
	struct fixture *f = *state;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_true(interval(f, "3000000", pid, 0) == 1.5);
	assert_true(interval(f, "1", NULL, 0) == 0.0000005);
}

static void anothers_watchdog_is_not_fed(void **state)
{
	struct fixture *f = *state;

	assert_true(interval(f, "3000000", "1", 0) == 0);
}

static void bad_watchdog_times_are_told_and_ignored(void **state)
{
	const char *const bad[] = {"", "0", "-5", "3s", "1e6", "99999999999999999999"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(interval(f, bad[i], NULL, -EINVAL) == 0);
	assert_true(interval(f, "3000000", "me", -EINVAL) == 0);
	assert_true(notify_wanted()); /* the address was fine */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_manager_nothing_is_sent_and_nothing_fails),
		TEST(a_message_reaches_a_path),
		TEST(a_message_reaches_an_abstract_address),
		TEST(a_manager_that_has_gone_is_an_error),
		TEST(a_manager_that_does_not_read_is_not_waited_for),
		TEST(a_message_over_the_limit_is_not_sent),
		TEST(children_inherit_none_of_the_variables),
		TEST(bad_addresses_are_told_and_ignored),
		TEST(the_watchdog_is_fed_at_half_its_time),
		TEST(anothers_watchdog_is_not_fed),
		TEST(bad_watchdog_times_are_told_and_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
