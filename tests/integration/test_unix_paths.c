/* Socket files and busy addresses: what is left by the dead is replaced, what belongs to others is
 * left alone, and the message says which address it was. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 120

static void configure(struct usher *u)
{
	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: file, path: %s/s.sock, handler: echo}\n",
			u->folder);
}

static void expect_service(const struct usher *u)
{
	AUTO_CLOSE int fd = connect_unix(usher_path(u, "s.sock"));

	client_expect_echo(fd);
}

/* A listening socket of the test's own. */
static int listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_ino : 0;
}

/* usherd cannot start, and says so with every one of the texts. */
static void expect_refusal(struct usher *u, const char *const *texts)
{
	usher_launch(u);
	assert_int_not_equal(usher_ended(u), 0);
	for (AUTO_FREE char *log = usher_log(u); *texts; texts++)
		if (!strcasestr(log, *texts))
			fail_msg("no \"%s\" in:\n%s", *texts, log);
}

static void a_stale_file_is_replaced(void **state)
{
	struct usher *u = *state;

	close(listen_on(usher_path(u, "s.sock")));
	assert_int_equal(try_connect_unix(usher_path(u, "s.sock")), -ECONNREFUSED);
	configure(u);
	usher_start(u);
	expect_service(u);
}

/* LS-6: the workers are killed first: one that lives listens until it has noticed. */
static void what_a_killed_usherd_left_is_replaced(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	configure(u);
	usher_start(u);
	ask_ready(u, 1, pids);
	kernel_stop(u->process.pid);
	kernel_kill(pids[0]);
	usher_signal(u, SIGKILL);
	assert_int_equal(usher_ended(u), 128 + SIGKILL);
	assert_true(inode_of(usher_path(u, "s.sock")) != 0);
	assert_true(inode_of(u->control) != 0);
	usher_start(u);
	expect_service(u);
}

/* SL-16 */
static void a_path_where_somebody_answers_is_left_alone(void **state)
{
	struct usher *u = *state;
	AUTO_CLOSE int theirs = listen_on(usher_path(u, "s.sock"));

	assert_true(theirs >= 0);
	ino_t inode = inode_of(usher_path(u, "s.sock"));

	configure(u);
	expect_refusal(u, (const char *const[]){usher_path(u, "s.sock"), "in use", NULL});
	assert_int_equal(inode_of(usher_path(u, "s.sock")), inode);
	close(connect_unix(usher_path(u, "s.sock")));
}

/* The queue of the other is full, so a connect does not succeed; still somebody is there. */
static void a_busy_listener_is_not_taken_for_a_stale_one(void **state)
{
	struct usher *u = *state;
	AUTO_CLOSE int theirs = listen_on(usher_path(u, "s.sock"));

	assert_int_equal(listen(theirs, 0), 0);
	AUTO_CLOSE int fills = connect_unix(usher_path(u, "s.sock"));
	assert_true(fills >= 0);
	configure(u);
	expect_refusal(u, (const char *const[]){usher_path(u, "s.sock"), NULL});
	assert_true(inode_of(usher_path(u, "s.sock")) != 0);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct usher *u = *state;
	FILE *file = fopen(usher_path(u, "s.sock"), "we");

	assert_non_null(file);
	fputs("precious", file);
	fclose(file);
	ino_t inode = inode_of(usher_path(u, "s.sock"));

	configure(u);
	expect_refusal(u, (const char *const[]){usher_path(u, "s.sock"), NULL});
	assert_int_equal(inode_of(usher_path(u, "s.sock")), inode);
}

static void a_link_is_not_followed(void **state)
{
	struct usher *u = *state;
	char target[100];

	strcpy(target, usher_path(u, "target"));
	close(listen_on(target));
	assert_int_equal(symlink(target, usher_path(u, "s.sock")), 0);
	ino_t inode = inode_of(target);

	configure(u);
	expect_refusal(u, (const char *const[]){usher_path(u, "s.sock"), NULL});
	assert_int_equal(inode_of(target), inode);
	assert_true(inode_of(usher_path(u, "s.sock")) != 0);
}

static void a_missing_folder_is_named(void **state)
{
	struct usher *u = *state;

	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: file, path: %s/nowhere/s.sock, handler: echo}\n",
			u->folder);
	expect_refusal(u, (const char *const[]){usher_path(u, "nowhere"), "No such file", NULL});
}

/* SC-6, LS-6 */
static void the_file_is_removed_at_the_end(void **state)
{
	struct usher *u = *state;

	configure(u);
	usher_start(u);
	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	assert_int_equal(inode_of(usher_path(u, "s.sock")), 0);
	assert_int_equal(inode_of(u->control), 0);
}

static void a_file_of_another_is_not_removed_at_the_end(void **state)
{
	struct usher *u = *state;

	configure(u);
	usher_start(u);
	assert_int_equal(unlink(usher_path(u, "s.sock")), 0);
	AUTO_CLOSE int theirs = listen_on(usher_path(u, "s.sock"));

	assert_true(theirs >= 0);
	ino_t inode = inode_of(usher_path(u, "s.sock"));
	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	assert_int_equal(inode_of(usher_path(u, "s.sock")), inode);
}

static void nothing_is_left_when_the_start_fails(void **state)
{
	struct usher *u = *state;

	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: good, path: %s/s.sock, handler: echo}\n"
			"  - {name: bad, path: %s/nowhere/s.sock, handler: echo}\n",
			u->folder, u->folder);
	usher_launch(u);
	assert_int_not_equal(usher_ended(u), 0);
	assert_int_equal(inode_of(usher_path(u, "s.sock")), 0);
	assert_int_equal(inode_of(u->control), 0);
}

static void a_second_usherd_is_told_that_the_control_socket_is_busy(void **state)
{
	struct usher *u = *state;
	char program[PATH_MAX];
	const char *const argv[] = {built("usherd", program), "-c", u->config, NULL};
	AUTO_FREE char *err = NULL;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	assert_int_not_equal(process_run(&(struct process_options){.argv = argv}, NULL, &err), 0);
	assert_non_null(strstr(err, u->control));
	json_decref(ask_status(u));
}

/* A listening socket, and its port. */
static int occupy_port(int *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

/* LS-5: that it was busy is not remembered. */
static void a_port_that_was_busy_is_served_when_it_is_free(void **state)
{
	struct usher *u = *state;
	int port;
	AUTO_CLOSE int theirs = occupy_port(&port);

	usher_configure(u,
			"workers: 2\n"
			"listeners:\n"
			"  - {name: busy, host: 127.0.0.1, port: %d, handler: echo}\n",
			port);
	expect_refusal(u, (const char *const[]){"in use", NULL});
	close_fd(take_fd(&theirs));
	usher_start(u);
	clients_connect(&u->clients, port, 4);
	clients_expect_echo(&u->clients);
}

/* DF-10, SL-12 */
static void a_busy_port_is_named(void **state)
{
	struct usher *u = *state;
	char text[64];
	int port;
	AUTO_CLOSE int theirs = occupy_port(&port);

	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: busy, host: 127.0.0.1, port: %d, handler: echo}\n",
			port);
	snprintf(text, sizeof(text), "127.0.0.1:%d", port);
	expect_refusal(u, (const char *const[]){text, "in use", NULL});

	/* Without a host it is the wildcard that cannot be had. */
	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: busy, port: %d, handler: echo}\n",
			port);
	snprintf(text, sizeof(text), "[::]:%d", port);
	expect_refusal(u, (const char *const[]){text, "in use", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(a_stale_file_is_replaced),
		USHER_TEST(what_a_killed_usherd_left_is_replaced),
		USHER_TEST(a_path_where_somebody_answers_is_left_alone),
		USHER_TEST(a_busy_listener_is_not_taken_for_a_stale_one),
		USHER_TEST(a_file_that_is_no_socket_is_left_alone),
		USHER_TEST(a_link_is_not_followed),
		USHER_TEST(a_missing_folder_is_named),
		USHER_TEST(the_file_is_removed_at_the_end),
		USHER_TEST(a_file_of_another_is_not_removed_at_the_end),
		USHER_TEST(nothing_is_left_when_the_start_fails),
		USHER_TEST(a_second_usherd_is_told_that_the_control_socket_is_busy),
		USHER_TEST(a_port_that_was_busy_is_served_when_it_is_free),
		USHER_TEST(a_busy_port_is_named),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
