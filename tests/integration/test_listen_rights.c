/* What a worker may listen on for its programs, and what becomes of one that asks as none does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/listen_world.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

/* --- what a worker may ----------------------------------------------------------------------- */

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

/* Some port that only root can have. */
static int low_port(void)
{
	for (int port = 1; port < 1024; port++)
		if (tcp_is_refused(port))
			return port;
	skip();
	return -1;
}

static void a_worker_gets_no_port_that_its_user_could_not_have(void **state)
{
	struct usher *u = *state;

	need_root();
	listen_start(u, 1, "user: nobody\n");
	int port = low_port();
	crew_say(&crew, 0, "listen a port 127.0.0.1 %d", port);
	listen_expect_error(0, "a", "EACCES");
	assert_true(usher_logs(u, "allow_listen could grant it"));
	assert_true(tcp_is_refused(port));
	int other = listen_any(0, "b");
	assert_true(other >= 1024);
	listen_close(0, "b");
}

static void what_allow_listen_names_is_granted_and_nothing_else(void **state)
{
	struct usher *u = *state;
	int port;
	char settings[128];

	need_root();
	port = low_port();
	snprintf(settings, sizeof(settings), "user: nobody\nallow_listen: [\"127.0.0.1:%d\"]\n",
		 port);
	listen_start(u, 2, settings);
	listen_on(0, "a", port);
	listen_on(1, "a", port);
	listen_expect_greeting("127.0.0.1", port);
	crew_say(&crew, 0, "listen b port 127.0.0.2 %d", port);
	listen_expect_error(0, "b", "EACCES");
	crew_say(&crew, 0, "listen b port 127.0.0.1 0");
	listen_expect_error(0, "b", "EACCES");
	crew_say(&crew, 0, "listen b path @nobody");
	listen_expect_error(0, "b", "EACCES");
	assert_true(usher_logs(u, "may not listen on 127.0.0.2:"));
	assert_true(usher_logs(u, "allow_listen says on what it may"));
	/* By name it is the same address, which is known after a lookup. */
	crew_say(&crew, 0, "listen b port localhost %d", port);
	listen_expect_error(0, "b", "E");
	listen_close(0, "a");
	listen_close(1, "a");
}

static void an_empty_allow_listen_grants_nothing(void **state)
{
	struct usher *u = *state;

	listen_start(u, 1, "allow_listen: []\n");
	crew_say(&crew, 0, "listen a port 127.0.0.1 0");
	listen_expect_error(0, "a", "EACCES");
	crew_say(&crew, 0, "listen b fd 3");
	listen_expect_error(0, "b", "EACCES");
	assert_true(usher_logs(u, "may not listen on descriptor 3: workers get no descriptor"));
}

static void a_path_needs_the_rights_of_the_workers_user(void **state)
{
	struct usher *u = *state;
	char closed[128], link[128], path[160];

	need_root();
	listen_start(u, 1, "user: nobody\nallow_listen: [/tmp]\n");
	snprintf(closed, sizeof(closed), "%s", usher_path(u, "closed"));
	assert_int_equal(mkdir(closed, 0755), 0);
	crew_say(&crew, 0, "listen a path %s/s", closed);
	listen_expect_error(0, "a", "EACCES");
	snprintf(path, sizeof(path), "%s/s", closed);
	assert_int_equal(access(path, F_OK), -1);

	/* Nor by a link in a folder of its own. */
	snprintf(link, sizeof(link), "%s/link", listen_room(u));
	assert_int_equal(symlink(closed, link), 0);
	crew_say(&crew, 0, "listen a path %s/s", link);
	listen_expect_error(0, "a", "EACCES");
	assert_int_equal(access(path, F_OK), -1);
	crew_say(&crew, 0, "listen a path /tmp/../run/s");
	listen_expect_error(0, "a", "EACCES");
	assert_true(usher_logs(u, "may not listen on /tmp/../run/s"));
}

/* The file is removed with the same rights that made it. */
static void a_file_that_its_user_may_not_remove_stays(void **state)
{
	struct usher *u = *state;
	char folder[128], path[160];

	need_root();
	listen_start(u, 1, "user: nobody\n");
	snprintf(folder, sizeof(folder), "%s", listen_room(u));
	snprintf(path, sizeof(path), "%s/s", folder);
	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	assert_int_equal(chmod(folder, 0755), 0);
	listen_close(0, "a");
	crew_say(&crew, 0, "listen b port 127.0.0.1 0");
	listen_heard(0, "b");
	assert_int_equal(access(path, F_OK), 0);
	listen_close(0, "b");
}

/* --- hostile workers ------------------------------------------------------------------------- */

/* The words of a LISTEN: type, request, kind, port, fd, turn, backlog, flags, and the text. */
static void expect_end_after(struct usher *u, const char *raw)
{
	pid_t pid = crew.mates[crew.count - 1].pid;
	char reason[64];

	crew_say(&crew, crew.count - 1, "raw %s", raw);
	crew_expect_gone(&crew, crew.count - 1);
	snprintf(reason, sizeof(reason), "pid %d) asked for a socket", (int)pid);
	assert_true(usher_logs(u, reason));
	crew_await(&crew, 1);
}

static void what_no_worker_asks_for_ends_it(void **state)
{
	static const char *const packets[] = {
		"14 0 0 0 0 0 0 0",         /* request 0 */
		"14 7 0 0 0 0 0 0",         /* a request out of turn */
		"14 1 3 0 0 0 0 0",         /* an unknown kind */
		"14 1 0 10000 0 0 0 0",     /* a port above 65535 */
		"14 1 0 50 0 0 80000000 0", /* a backlog that is negative */
		"14 1 0 50 0 0 0 8",        /* an unknown flag */
	};
	struct usher *u = *state;

	listen_start(u, 1, "");
	for (size_t i = 0; i < ARRAY_LEN(packets); i++)
		expect_end_after(u, packets[i]);
}

static void texts_that_no_worker_sends_end_it(void **state)
{
	static const char *const packets[] = {
		"14 1 0 50 0 0 0 0 00616161", /* a host with a NUL */
		"14 1 1 0 0 0 0 0 61616161",  /* a path that is relative */
		"14 1 1 0 0 0 0 0",           /* no path */
		"14 1 2 0 3 0 0 0 61616161",  /* a descriptor with a text */
		"17 1",                       /* serving what was never asked for */
		"18 1 1 0",                   /* giving back what was never asked for */
	};
	struct usher *u = *state;

	listen_start(u, 1, "");
	for (size_t i = 0; i < ARRAY_LEN(packets); i++)
		expect_end_after(u, packets[i]);
}

struct fd_question {
	pid_t pid;
	int count;
};

static bool has_no_more_fds(void *ctx)
{
	const struct fd_question *q = ctx;

	return kernel_fd_count(q->pid) <= q->count;
}

/* One worker cannot have without end, and what it has goes with it. */
static void one_worker_has_no_more_than_its_share(void **state)
{
	struct usher *u = *state;

	listen_start(u, 1, "");
	struct fd_question q = {u->process.pid, kernel_fd_count(u->process.pid)};
	for (int i = 0; i < 256; i++)
		crew_say(&crew, 0, "listen s%d port 127.0.0.1 0", i);
	for (int i = 0; i < 256; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", i);
		listen_heard(0, name);
	}
	crew_say(&crew, 0, "listen more port 127.0.0.1 0");
	listen_expect_error(0, "more", "ENOBUFS");
	crew_kill(&crew, 0);
	crew_await(&crew, 1);
	assert_true(ask_until_workers(u, "ready", 1));
	int port = listen_any(1, "a");
	assert_true(port > 0);
	listen_close(1, "a");
	assert_true(poll_until(has_no_more_fds, &q, WAIT_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTEN_TEST(a_worker_gets_no_port_that_its_user_could_not_have),
		LISTEN_TEST(what_allow_listen_names_is_granted_and_nothing_else),
		LISTEN_TEST(an_empty_allow_listen_grants_nothing),
		LISTEN_TEST(a_path_needs_the_rights_of_the_workers_user),
		LISTEN_TEST(a_file_that_its_user_may_not_remove_stays),
		LISTEN_TEST(what_no_worker_asks_for_ends_it),
		LISTEN_TEST(texts_that_no_worker_sends_end_it),
		LISTEN_TEST(one_worker_has_no_more_than_its_share),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
